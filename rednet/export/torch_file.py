"""Programs of torch.export as files."""

from collections.abc import Mapping
from io import BytesIO

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule

SUFFIX = ".json"


def to_torch(program: ExportedProgram, metadata: Mapping[str, str]) -> bytes:
    """Return a program as the content of a .pt2 file, with a file inside for each text.

    Args:
        program: A program of `export_program`.
        metadata: Texts to write into the file, by name.
    """
    file = BytesIO()
    files = {f"{name}{SUFFIX}": text for name, text in metadata.items()}
    _forget_sources(program)
    torch.export.save(program, file, extra_files=files)
    return file.getvalue()


def _forget_sources(program: ExportedProgram) -> None:
    """Drop the lines of Python that each node comes from, with the paths of this machine."""
    for module in program.graph_module.modules():
        if isinstance(module, GraphModule):
            for node in module.graph.nodes:
                for key in ("stack_trace", "source_fn_stack", "torch_fn", "from_node"):
                    node.meta.pop(key, None)
