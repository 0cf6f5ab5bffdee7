"""Networks as files for other programs: ONNX, programs of torch.export, and AOTInductor's."""

from rednet.export.aoti_file import require_compiler, to_aoti
from rednet.export.checking import check_file, describe_check
from rednet.export.onnx_file import require_onnx, to_onnx
from rednet.export.program import (
    INPUT,
    decompose,
    export_program,
    inference_program,
    variable_sizes,
)
from rednet.export.subject import Options, Subject
from rednet.export.torch_file import to_torch
from rednet.export.usage import usage

__all__ = [
    "Options",
    "Subject",
    "check_file",
    "decompose",
    "describe_check",
    "export_program",
    "require_onnx",
    "to_aoti",
    "to_onnx",
    "to_torch",
    "usage",
    "write_program",
]


def write_program(subject: Subject, format: str, options: Options) -> bytes:
    """Export a network and return the content of its file.

    Args:
        subject: The network and what is written with it.
        format: "onnx", "torch_export" or "aoti".
        options: Properties of the exported network.

    Raises:
        InputError: PyTorch cannot export the network.
    """
    if format == "onnx":
        require_onnx()
    if format == "aoti":
        require_compiler()
    if format == "aoti" and not options.decompose:
        program = inference_program(subject.model, subject.images())
        return to_aoti(program, subject.metadata())
    program = export_program(
        subject.model,
        subject.images(),
        fold_bn=options.fold_bn,
        dynamic_size=options.dynamic_size,
    )
    if format == "onnx":
        inputs = {INPUT: variable_sizes(options.dynamic_size)}
        return to_onnx(program, subject.metadata(), inputs)
    program = decompose(program) if options.decompose else program
    write = to_aoti if format == "aoti" else to_torch
    return write(program, subject.metadata())
