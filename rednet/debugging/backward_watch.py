"""Find the first operation in a backward pass that turns finite gradients into others."""

import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

from rednet.debugging.finite import describe, is_finite
from rednet.debugging.forward_watch import Finding

LIBRARIES = (str(Path(torch.__file__).parent), sysconfig.get_paths()["purelib"])


class BackwardWatch:
    """Watches every node of an autograd graph, which was made in torch's anomaly mode.

    torch's own check ends at the first nan, leaves infinite values alone, and raises an error in
    the middle of the pass, where other processes would wait for this one.

    Args:
        loss: The loss whose graph it is.
        owners: Module of each node.

    Attributes:
        finding: The first operation with finite gradients of its output and others of its input.
    """

    def __init__(self, loss: Tensor, owners: Mapping[Node, str]) -> None:
        self.owners = owners
        self.finding: Finding | None = None
        self.nodes: set[Node] = set()
        waiting = [] if loss.grad_fn is None else [loss.grad_fn]
        while waiting:
            node = waiting.pop()
            if node in self.nodes:
                continue
            self.nodes.add(node)
            node.register_hook(_Watched(self, node))
            waiting += [after for after, _ in node.next_functions if after is not None]

    def look(self, node: Node, grad_inputs: Any, grad_outputs: Any) -> None:
        """Compare what enters a node with what leaves it."""
        if self.finding is not None or not is_finite(grad_outputs) or is_finite(grad_inputs):
            return
        owner = self.owners.get(node)
        where = "the loss" if owner is None else owner or "the network"
        what = f"{node.name()} makes a gradient {describe(grad_inputs)} of finite ones"
        if line := _line_of(node):
            what += f"; called by {line}"
        self.finding = Finding(f"backward pass of {where}", what, grad_inputs)


class _Watched:
    """The hook of a node."""

    def __init__(self, watch: BackwardWatch, node: Node) -> None:
        self.watch, self.node = watch, node

    def __call__(self, grad_inputs: Any, grad_outputs: Any) -> None:
        self.watch.look(self.node, grad_inputs, grad_outputs)


def _line_of(node: Node) -> str | None:
    """Return the innermost line of the user's code, or of this project, that called an operation.

    In anomaly mode torch keeps the stack of the call, as text.
    """
    metadata: Any = node.metadata  # a dict, which torch's stubs call a method
    for frame in reversed(metadata.get("traceback_", [])):
        place, _, code = frame.strip().partition("\n")
        if not any(library in place for library in LIBRARIES):
            source = code.strip().split("\n")[0]
            return f"{place.replace('File ', '').strip()}: {source}"
    return None
