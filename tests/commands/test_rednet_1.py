"""A run in the format of the first releases, written before keys and counters were renamed.

The fixture is one of two epochs of a tiny network, and the numbers are what the code that wrote it
reached in the second: `train.py experiment=smoke` with the settings below, by their old names.
"""

import lzma
import shutil
from pathlib import Path

import pytest

from rednet.training.metrics import read_metrics
from rednet.weights import read_checkpoint

FIXTURE = Path(__file__).parents[1] / "fixtures" / "rednet-1"
SETTINGS = [
    *("experiment=smoke", "model.options.width=0.05", "model.options.kernel_size=3"),
    *("model.options.group_channels=8", "trainer.ema_decay=0.9", "data.train_samples=64"),
    *("data.val_samples=20", "schedule.epochs=2", "optimizer.lr_base_size=256"),
    *("trainer.grad_accum_steps=2", "data.batch_size=16"),
    *("data.image_size=24", "trainer.device=cpu"),
]
TRAIN_LOSS, VAL_LOSS = 2.2998600602149963, 2.302756404876709


@pytest.fixture
def run(work_folder):
    """The run after its first epoch, in the folder "run"."""
    shutil.copytree(FIXTURE, "run")
    packed = Path("run/checkpoints/last.pt.xz")
    Path("run/checkpoints/last.pt").write_bytes(lzma.decompress(packed.read_bytes()))
    packed.unlink()
    return Path("run")


def test_it_resumes_to_the_losses_of_the_code_that_wrote_it(run, train):
    done = train(*SETTINGS, "output_dir=run")
    assert "resumed after epoch 1 from run/checkpoints/last.pt\n" in done.out
    first, second = read_metrics(run)
    assert (first["global_step"], second["global_step"]) == (2, 4)
    assert second["train_loss"] == pytest.approx(TRAIN_LOSS, abs=1e-5)
    assert second["val_loss"] == pytest.approx(VAL_LOSS, abs=1e-5)
    checkpoint = read_checkpoint(run / "checkpoints" / "last.pt").content
    assert checkpoint["format"] == "rednet-2"
    assert checkpoint["train_state"]["optimizer_steps"] == 4


def test_it_evaluates_to_its_own_metrics(run, evaluate):
    recorded = read_metrics(run)[-1]
    done = evaluate("checkpoint=run/checkpoints/last.pt", "data=fashion_mnist", *SETTINGS[6:7])
    assert done.code == 0
    assert f"loss {recorded['val_loss']:.4f}  (20 images)" in done.out


def test_it_starts_another_run(run, train):
    done = train(*SETTINGS, "checkpoint=run/checkpoints/last.pt", "output_dir=other")
    assert done.code == 0
    assert [line["epoch"] for line in read_metrics(Path("other"))] == [1, 2]
