"""The 250 sample photographs of ImageNet, which are next to the repository."""

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rednet.data import Preprocessing, eval_transform, open_imagenet

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "imagenet-sample"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@cache
def load_photographs(size: int, every: int = 1) -> Tensor:
    """Prepare every n-th photograph as evaluation does; skip the test where there are none."""
    if not SAMPLE.is_dir():
        pytest.skip("needs the ImageNet sample next to the repository")
    source = open_imagenet(str(SAMPLE), train=False).val
    transform = eval_transform(Preprocessing(size, 0.875, "bilinear", MEAN, STD))
    return torch.stack([transform(source.load(i)) for i in range(0, len(source), every)])
