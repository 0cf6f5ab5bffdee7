"""PaddleClas's own networks: their files, as Paddle writes them, give their logits.

Paddle runs in another process, since its libraries and torch's do not go well together. It is in no
extra: `pip install paddlepaddle paddleclas`, here or for the Python that `PADDLE_PYTHON` names.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from rednet.weights import read_checkpoint, restore_model

PYTHON = os.environ.get("PADDLE_PYTHON", sys.executable)
TIMEOUT_S = 300

WRITE = """
import sys
import numpy as np
import paddle
from paddle import nn
from paddleclas.ppcls.arch.backbone.model_zoo import rednet

folder, name = sys.argv[1:]
paddle.seed(0)
random = np.random.default_rng(0)
model = getattr(rednet, name)()
for layer in model.sublayers():
    if isinstance(layer, nn.BatchNorm2D):
        layer.weight.set_value(random.uniform(0.5, 1.5, layer.weight.shape).astype("float32"))
        layer.bias.set_value(random.uniform(-0.2, 0.2, layer.bias.shape).astype("float32"))
        layer._momentum = 0.0  # the statistics of the next batch, so that activations stay small
images = random.standard_normal((8, 3, 64, 96)).astype("float32")
with paddle.no_grad():
    model.train()
    model(paddle.to_tensor(images))
    model.eval()
    paddle.save(model.state_dict(), folder + "/weights.pdparams")
    model.to(dtype="float64")  # a random network of involutions multiplies rounding errors
    images = images.astype("float64")
    logits = model(paddle.to_tensor(images)).numpy()
np.savez(folder + "/logits.npz", images=images, logits=logits)
"""


def paddle(code, *arguments):
    return subprocess.run(
        [PYTHON, "-c", code, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S
    )


@pytest.fixture(scope="module")
def needs_paddle():
    find = "from importlib.util import find_spec as f; assert f('paddle') and f('paddleclas')"
    if paddle(find).returncode:
        pytest.skip("needs pip install paddlepaddle paddleclas, see PADDLE_PYTHON")


@pytest.mark.usefixtures("needs_paddle")
@pytest.mark.parametrize("name", ["RedNet26", "RedNet50"])
def test_logits_of_paddleclas(name, tmp_path):
    done = paddle(WRITE, str(tmp_path), name)
    assert done.returncode == 0, done.stderr
    checkpoint = read_checkpoint(tmp_path / "weights.pdparams")
    assert (checkpoint.kind, checkpoint.model) == ("paddle", {"name": name.lower(), "options": {}})
    saved = np.load(tmp_path / "logits.npz")
    model = restore_model(checkpoint).eval().double()
    with torch.no_grad():
        logits = model(torch.from_numpy(saved["images"]))
    torch.testing.assert_close(logits, torch.from_numpy(saved["logits"]), rtol=0, atol=1e-5)
    assert logits.std() > 0.1
