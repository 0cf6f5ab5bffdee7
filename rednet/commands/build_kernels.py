"""Compile the CPU's kernels into a folder, for machines that have no compiler."""

from collections.abc import Collection, Sequence
from pathlib import Path

from rednet import cli
from rednet.config import BuildKernelsConfig
from rednet.errors import InputError
from rednet.program import announce, announce_torch, say
from rednet.wording import printable


def build_kernels(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return cli.run("build_kernels", _build_kernels, argv)


def _build_kernels(config: BuildKernelsConfig, explicit_keys: Collection[str]) -> None:
    if config.output is None:
        raise InputError("output=FOLDER is needed: where the kernels go")
    announce_torch()
    from rednet.decoding import jpeg
    from rednet.ops import batch_norm, native, native_span
    from rednet.ops.carried import levels, make_carried
    from rednet.ops.compiler import BuildError
    from rednet.ops.private_folder import open_private

    if config.cpu not in levels():
        raise InputError(f"cpu={config.cpu}: choose one of {', '.join(levels())}")
    announce("compiling the kernels")
    try:
        Path(config.output).mkdir(parents=True, exist_ok=True)  # others may read it
        folder = open_private(Path(config.output))
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"output={printable(config.output)}: {reason}") from error
    try:
        for kernels in (native, native_span, batch_norm, jpeg):
            file = make_carried(kernels.SOURCE, kernels.FLAGS, config.cpu, folder)
            say(f"wrote {printable(file)}: {file.stat().st_size:,} bytes")
    except (BuildError, OSError) as error:
        raise InputError(f"output={printable(config.output)}: {error}") from error
    finally:
        folder.close()
    say(
        "a machine without a compiler, with the same rednet and torch, uses them where "
        f"REDNET_CACHE={printable(config.output)}"
    )
