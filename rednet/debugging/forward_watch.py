"""Find the first module in a forward pass whose output is not finite although its inputs are."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.autograd.graph import Node

from rednet.debugging.finite import describe, is_finite, largest, nonfinite_names, tensors_in


@dataclass(frozen=True)
class Finding:
    """Where a value that is not finite arises.

    Attributes:
        where: Path of a module, or what else it is.
        what: What happens there.
        value: The first output that is not finite, if known.
    """

    where: str
    what: str
    value: Any = None

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass
class _Call:
    """A call of a module that has begun.

    Attributes:
        is_finite: Whether its inputs were finite.
        size: Their largest magnitude.
        edges: Where its part of the autograd graph begins.
    """

    is_finite: bool
    size: float
    edges: set[Node]


@dataclass
class ForwardWatch:
    """Watches all modules of a network; hooks make fused layers compute each module by itself.

    Attributes:
        model: The network.
        finding: The first module with finite inputs and an output that is not.
        owners: Innermost module of each node of the autograd graph.
        is_on: Whether to look; not while the backward pass computes a layer again.
    """

    model: nn.Module
    finding: Finding | None = None
    owners: dict[Node, str] = field(default_factory=dict)
    is_on: bool = True
    _calls: list[_Call] = field(default_factory=list)

    @contextmanager
    def watching(self) -> Iterator["ForwardWatch"]:
        """Let hooks look at every module."""
        with ExitStack() as stack:
            for name, module in self.model.named_modules():
                before = module.register_forward_pre_hook(self._before, with_kwargs=True)
                after = module.register_forward_hook(_Named(self, name), with_kwargs=True)
                stack.callback(before.remove)
                stack.callback(after.remove)
            yield self

    def _before(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if self.is_on:
            inputs = (args, kwargs)
            edges = {t.grad_fn for t in tensors_in(inputs) if t.grad_fn is not None}
            self._calls.append(_Call(is_finite(inputs), largest(inputs), edges))

    def after(self, name: str, module: nn.Module, output: Any) -> None:
        """Look at what a module returns."""
        if not self.is_on:
            return
        call = self._calls.pop()
        self._own(name, output, call.edges)
        if self.finding is None and call.is_finite and not is_finite(output):
            self.finding = Finding(_label(name, module), _explain(module, output, call), output)

    def _own(self, name: str, output: Any, edges: set[Node]) -> None:
        """Note which nodes of the graph a module has made, apart from those of its parts."""
        waiting = [t.grad_fn for t in tensors_in(output) if t.grad_fn is not None]
        seen = set(edges)
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            self.owners.setdefault(node, name)
            waiting += [after for after, _ in node.next_functions if after is not None]


@dataclass(frozen=True)
class _Named:
    """The hook of a module that knows its path."""

    watch: ForwardWatch
    name: str

    def __call__(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self.watch.after(self.name, module, output)


def _label(name: str, module: nn.Module) -> str:
    return f"{name or 'the network'} ({type(module).__name__})"


def _explain(module: nn.Module, output: Any, call: _Call) -> str:
    what = f"its output {describe(output)}, while its inputs are finite, up to {call.size:.3g}"
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    if bad := nonfinite_names(own):
        return f"{what}; its own {' and '.join(bad)} is not finite"
    if own:
        what += f", and its own parameters up to {largest([tensor for _, tensor in own]):.3g}"
    if any(True for _ in module.children()):
        what += "; it arises between its layers, whose own outputs are finite"
    return what
