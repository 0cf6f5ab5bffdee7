"""Programs of torch.export as ONNX, with operators of the standard only."""

import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from typing import Any

import torch
from torch.export import ExportedProgram

from rednet.errors import InputError
from rednet.export.program import OUTPUT, sizes_of_one

OPSET = 18
"""The oldest version that has all operators used, for as many runtimes as possible."""
INSTALL = "pip install onnx onnxscript onnxruntime"


def require_onnx() -> None:
    """Raise InputError unless the packages for ONNX are installed."""
    for package in ("onnx", "onnxscript"):
        if find_spec(package) is None:
            raise InputError(f"format=onnx needs the package {package}: {INSTALL}")


def to_onnx(
    program: ExportedProgram,
    metadata: Mapping[str, str],
    inputs: Mapping[str, Mapping[int, str]],
) -> bytes:
    """Return a program as the content of an ONNX file, checked by `onnx.checker`.

    Args:
        program: A program of `export_program`.
        metadata: Texts to write into the file, by name.
        inputs: The names of the inputs; for each, the names of its variable sizes by axis.

    Raises:
        InputError: The network has an operation that PyTorch cannot write as ONNX.
    """
    require_onnx()
    import onnx
    import onnx_ir

    model = _convert(program, inputs)
    _tidy(model)
    model.metadata_props.update(metadata)
    model.producer_name, model.producer_version = "rednet", None
    content = onnx_ir.to_proto(model)
    onnx.checker.check_model(content, full_check=True)
    return content.SerializeToString()


def _convert(program: ExportedProgram, inputs: Mapping[str, Mapping[int, str]]) -> Any:
    from torch.onnx import OnnxExporterError

    from rednet.export.onnx_operators import TRANSLATIONS

    try:
        # The exporter prints its progress, and warns of its own deprecated parts.
        with (
            redirect_stdout(StringIO()),
            warnings.catch_warnings(action="ignore"),
            sizes_of_one(),
        ):
            exported = torch.onnx.export(
                program,
                dynamo=True,
                input_names=list(inputs),
                output_names=[OUTPUT],
                dynamic_shapes=tuple(dict(sizes) for sizes in inputs.values()),
                opset_version=OPSET,
                custom_translation_table=TRANSLATIONS,
                optimize=False,
                verbose=False,
            )
    except OnnxExporterError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"PyTorch cannot write this network as ONNX: {reason}") from error
    assert exported is not None
    return exported.model


def _tidy(model: Any) -> None:
    """Merge equal nodes and constants, and drop names of this machine's files."""
    from onnx_ir.passes import Sequential, common

    Sequential(
        common.ClearMetadataAndDocStringPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
    )(model)
    casts = [node for node in model.graph if node.op_type == "CastLike"]
    if any(node.inputs[1].dtype is None for node in casts):
        common.ShapeInferencePass()(model)
    for node in casts:
        _cast_to_known_type(node)


def _cast_to_known_type(node: Any) -> None:
    """Turn a CastLike into a Cast; ONNX Runtime warns whenever it opens a file with the former."""
    import onnx_ir

    dtype = node.inputs[1].dtype
    if dtype is not None:
        node.op_type = "Cast"
        node.resize_inputs(1)
        node.attributes.add(onnx_ir.AttrInt64("to", dtype))
