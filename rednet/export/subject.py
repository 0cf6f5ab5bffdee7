"""What is exported: a network, and what must travel with it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rednet.data import english_names
from rednet.versions import rednet_version

BATCH = 2
"""Images of the example; torch.export takes a single one for a constant."""

COARSE = 8
"""Height and width of the random images before they are enlarged."""


@dataclass(frozen=True)
class Options:
    """Properties of an exported network.

    Attributes:
        fold_bn: Batch normalisation is folded into the convolutions before it.
        decompose: PyTorch's own operations replace the operator, in a program of torch.export.
        dynamic_size: Height and width may vary, not only the number of images.
    """

    fold_bn: bool = True
    decompose: bool = False
    dynamic_size: bool = True


@dataclass(frozen=True)
class Subject:
    """A network in evaluation mode and what its file says about images and classes.

    Attributes:
        model: The network.
        network: Its name in timm and its options.
        preprocessing: Values by the names of `rednet.data.Preprocessing`, as far as known.
        class_names: Name of each output, None if unknown.
        in_chans: Channels of the images.
        size: Height and width of the example images.
    """

    model: nn.Module
    network: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    class_names: Sequence[str] | None
    in_chans: int
    size: int

    def images(self, batch: int = BATCH, size: int | None = None) -> Tensor:
        """Return random images, the same each time.

        They are smooth like photographs: an involution multiplies an image by kernels made of the
        image, so that noise, which no network is trained on, may grow from layer to layer.
        """
        size = size or self.size
        generator = torch.Generator().manual_seed(0)
        coarse = torch.randn(batch, self.in_chans, COARSE, COARSE, generator=generator)
        return F.interpolate(coarse, (size, size), mode="bilinear")

    @property
    def class_labels(self) -> Sequence[str] | None:
        """English names of ImageNet's synsets, None for other classes."""
        labels = [name for name in english_names(self.class_names or ()) if name is not None]
        return labels if self.class_names and len(labels) == len(self.class_names) else None

    def metadata(self) -> dict[str, str]:
        """Return what the file says about the network, as JSON by name."""
        found: dict[str, Any] = {
            "network": {"name": self.network["name"], "options": self.network["options"]},
            "rednet_version": rednet_version(),
        }
        if self.preprocessing:
            found["preprocessing"] = dict(self.preprocessing)
        if self.class_names is not None:
            found["class_names"] = list(self.class_names)
        if self.class_labels is not None:
            found["class_labels"] = list(self.class_labels)
        return {name: json.dumps(value, ensure_ascii=False) for name, value in found.items()}
