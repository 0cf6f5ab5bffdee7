"""Export a network to ONNX, to a program of torch.export, or to a package of AOTInductor."""

from collections.abc import Collection, Sequence
from pathlib import Path

from rednet import cli
from rednet.config import ExportConfig
from rednet.errors import InputError
from rednet.files import require_free, write_atomically
from rednet.program import announce, announce_torch
from rednet.wording import printable

SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2", "aoti": ".pt2"}
"""Suffix of the output by format."""
UNUSED = (
    "model.options.drop_path_rate",
    "model.options.drop_rate",
    "model.options.recompute_kernel",
)


def export(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return cli.run("export", _export, argv, unused=UNUSED)


def _export(config: ExportConfig, explicit_keys: Collection[str]) -> None:
    output = _check(config, explicit_keys)
    announce_torch()
    from rednet.build.export import build_export
    from rednet.export import check_file, describe_check, usage, write_program

    setup = build_export(config)
    require_free(output, setup.checkpoint.path, config.overwrite)
    print(f"{printable(setup.checkpoint.path)} ({setup.checkpoint.kind}): {setup.describe()}")
    announce("exporting, which takes up to a minute")
    data = write_program(setup.subject, config.format, setup.options)
    announce("comparing the exported network with PyTorch")
    error = check_file(data, config.format, setup.subject, setup.options)
    try:
        write_atomically(output, lambda file: file.write(data))
    except OSError as failure:
        raise InputError(f"output={output}: cannot be written: {failure.strerror}") from failure
    print(describe_check(config.format, error))
    print(f"wrote {printable(output)}: {len(data):,} bytes; to run it:\n")
    print(usage(str(output), config.format, setup.subject, setup.options))


def _check(config: ExportConfig, explicit_keys: Collection[str]) -> Path:
    """Return the output; raise InputError for keys that are missing or have no effect."""
    suffix = SUFFIXES[config.format]
    if config.checkpoint is None:
        raise InputError("checkpoint=FILE is needed: the network to export")
    if config.output is None:
        raise InputError(f"output=FILE{suffix} is needed: the file to write")
    if not config.output.endswith(suffix):
        raise InputError(f"output={config.output}: must end in {suffix} for format={config.format}")
    if "decompose" in explicit_keys and config.format == "onnx":
        raise InputError("decompose: has no effect, format=onnx has no operator of rednet anyway")
    if config.format == "aoti":
        _check_aoti(config, explicit_keys)
    return Path(config.output)


def _check_aoti(config: ExportConfig, explicit_keys: Collection[str]) -> None:
    """Raise InputError for what AOTInductor's packages cannot be."""
    if "dynamic_size" in explicit_keys and config.dynamic_size:
        raise InputError("dynamic_size=true: format=aoti compiles for images of one size")
    if not config.fold_bn:
        raise InputError("fold_bn=false: format=aoti always folds batch normalisation")
