"""Programs of torch.export compiled by AOTInductor, with weights packed for this CPU."""

import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch._inductor
from torch import Tensor
from torch.export import ExportedProgram

from rednet.best_effort import reason_of
from rednet.errors import InputError
from rednet.ops.compiler import BuildError, find_compiler
from rednet.ops.library_cache import use_private_cache

FILE = "network.pt2"


def require_compiler() -> None:
    """Raise InputError unless there is a C++ compiler."""
    try:
        find_compiler()
    except BuildError as error:
        raise InputError(f"format=aoti compiles the network: {error}") from error


def to_aoti(program: ExportedProgram, metadata: Mapping[str, str]) -> bytes:
    """Return a compiled program as the content of a .pt2 file.

    Args:
        program: A program of `inference_program`.
        metadata: Texts in JSON to write into the file, by name.

    Raises:
        InputError: There is no compiler, or AOTInductor cannot compile the program.
    """
    require_compiler()
    use_private_cache("TORCHINDUCTOR_CACHE_DIR", "torchinductor")
    # AOTInductor reads the texts with the encoding of C++, so they are ASCII.
    texts = {name: json.dumps(json.loads(text)) for name, text in metadata.items()}
    configs = {"freezing": True, "aot_inductor.metadata": texts}
    with tempfile.TemporaryDirectory(prefix="rednet-") as folder, _silence():
        path = Path(folder, FILE)
        try:
            torch._inductor.aoti_compile_and_package(
                program, package_path=str(path), inductor_configs=configs
            )
        except Exception as error:  # many kinds, from every part of torch
            reason = reason_of(error)
            raise InputError(f"AOTInductor cannot compile this network: {reason}") from error
        return path.read_bytes()


@contextmanager
def _silence() -> Iterator[None]:
    """Silence what Inductor says of itself, such as that a PyTorch for CUDA finds no GPU."""
    logger = logging.getLogger("torch.utils.cpp_extension")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)


def open_aoti(data: bytes) -> Callable[[Tensor], Tensor]:
    """Load the content of a file of `to_aoti`."""
    with tempfile.TemporaryDirectory(prefix="rednet-") as folder:
        path = Path(folder, FILE)
        path.write_bytes(data)
        return torch.no_grad()(torch._inductor.aoti_load_package(str(path)))
