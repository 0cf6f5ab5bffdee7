"""Networks as programs of `torch.export`, for images of any number and size."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.fx.experimental._config
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from rednet.errors import InputError
from rednet.export.folding import fold_batch_norms
from rednet.export.fusing import cast_weights, fuse_involutions
from rednet.export.tiling import DECOMPOSITIONS

INPUT = "images"
OUTPUT = "logits"


def export_program(
    model: nn.Module, images: Tensor, *, fold_bn: bool = False, dynamic_size: bool = True
) -> ExportedProgram:
    """Export a network in evaluation mode.

    Args:
        model: The network.
        images: An example of its input, (2, C, H, W).
        fold_bn: Fold batch normalisation into the convolutions before it.
        dynamic_size: Let height and width vary, not only the number of images.

    Raises:
        InputError: torch.export cannot export the network.
    """
    model = model.eval()
    try:
        program = _export(model, images, dynamic_size)
        if fold_bn:
            folded = fold_batch_norms(cast(torch.fx.GraphModule, program.module()))
            program = _export(folded, images, dynamic_size)
    except Exception as error:  # many kinds, from every part of torch
        raise InputError(_explain(error, dynamic_size)) from error
    return program


def inference_program(
    model: nn.Module,
    images: Tensor,
    *,
    dtype: torch.dtype | None = None,
    dynamic_size: bool = False,
) -> ExportedProgram:
    """Export a network for speed: batch norms in the convolutions and involutions before them.

    Args:
        model: The network, which is set to evaluation mode.
        images: An example of its input, (2, C, H, W).
        dtype: Dtype that weights and images are cast to after folding. The scale and shift of an
            involution keep theirs.
        dynamic_size: Let height and width vary, not only the number of images.

    Raises:
        InputError: torch.export cannot export the network.
    """
    program = export_program(model, images, fold_bn=True, dynamic_size=dynamic_size)
    fused = fuse_involutions(cast(torch.fx.GraphModule, program.module()))
    if dtype is not None and dtype != images.dtype:
        cast_weights(fused, dtype)
        images = images.to(dtype)
    try:
        return _export(fused, images, dynamic_size).run_decompositions({})
    except Exception as error:  # many kinds, from every part of torch
        raise InputError(_explain(error, dynamic_size)) from error


def variable_sizes(dynamic_size: bool) -> dict[int, str]:
    """Return the axes of the input whose size may vary, with their names."""
    return {0: "batch"} | ({2: "height", 3: "width"} if dynamic_size else {})


def _export(model: nn.Module, images: Tensor, dynamic_size: bool) -> ExportedProgram:
    shape = {axis: Dim(name) for axis, name in variable_sizes(dynamic_size).items()}
    with torch.no_grad(), sizes_of_one():
        return torch.export.export(model, (images,), dynamic_shapes=(shape,))


@contextmanager
def sizes_of_one() -> Iterator[None]:
    """Let torch.export treat a size of 1 like any other.

    By default it excludes batches of one image, and images that have one pixel in the last stage.
    """
    config: Any = torch.fx.experimental._config
    with config.patch(backed_size_oblivious=True):
        yield


def _explain(error: Exception, dynamic_size: bool) -> str:
    reason = str(error).strip().partition("\n")[0].partition("! For more information")[0]
    advice = "; dynamic_size=false exports it for images of one size" if dynamic_size else ""
    return f"torch.export cannot export this network: {reason}{advice}"


def decompose(program: ExportedProgram) -> ExportedProgram:
    """Return a program with PyTorch's own operations in place of `rednet::involution2d`."""
    with sizes_of_one():
        return program.run_decompositions(DECOMPOSITIONS)
