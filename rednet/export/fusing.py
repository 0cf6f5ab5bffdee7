"""Batch normalisation, and the ReLU after it, fused into the involution before it."""

from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from rednet.export.folding import NORM
from rednet.ops import torch_ops
from rednet.ops.checks import affine_dtype

aten = torch.ops.aten
INVOLUTION = torch_ops.involution2d._opoverload
FUSED = torch_ops.involution2d_affine._opoverload
RELUS = (aten.relu.default, aten.relu_.default)


def fuse_involutions(module: GraphModule) -> GraphModule:
    """Fuse every batch normalisation of a graph that alone follows an involution.

    Args:
        module: A graph of `torch.export` in evaluation mode, which is changed.
    """
    for norm in module.graph.find_nodes(op="call_function", target=NORM):
        involution = norm.args[0]
        if _can_fuse(involution, norm):
            _fuse(module, involution, norm)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _can_fuse(involution: Any, norm: Node) -> bool:
    """Return whether a node is an involution that only this normalisation of constants uses."""
    training = norm.args[5]
    return (
        isinstance(involution, Node)
        and involution.target is INVOLUTION
        and len(involution.users) == 1
        and not training
        and all(n is None or (isinstance(n, Node) and n.op == "get_attr") for n in norm.args[1:5])
        and norm.args[3] is not None
    )


def _fuse(module: GraphModule, involution: Node, norm: Node) -> None:
    users = list(norm.users)
    relu = len(users) == 1 and users[0].target in RELUS
    last = users[0] if relu else norm
    input, weight, *window = involution.args
    dtype = affine_dtype(involution.meta["val"].dtype)
    with module.graph.inserting_before(norm):
        vectors = [
            _constant(module, f"{involution.name}_{name}", value.to(dtype))
            for name, value in zip(("scale", "shift"), scale_and_shift(module, norm), strict=True)
        ]
        fused = module.graph.call_function(FUSED, (input, weight, *vectors, relu, *window))
    last.replace_all_uses_with(fused)


def _constant(module: GraphModule, name: str, value: Tensor) -> Node:
    module.register_buffer(name, value)
    return module.graph.get_attr(name)


def scale_and_shift(module: GraphModule, norm: Node) -> tuple[Tensor, Tensor]:
    """Return what a normalisation multiplies each channel by and then adds, in float64."""
    args: Any = norm.args
    gamma, beta, mean, variance = (
        None if node is None else attrgetter(node.target)(module).detach().double()
        for node in args[1:5]
    )
    assert mean is not None and variance is not None
    scale = (variance + args[7]).rsqrt()
    scale = scale if gamma is None else scale * gamma
    shift = -mean * scale
    return scale, shift if beta is None else shift + beta


def cast_weights(module: GraphModule, dtype: torch.dtype) -> None:
    """Cast the weights of a graph, except the scale and shift of its involutions.

    They are replaced, not changed: the graph shares them with the network that was exported.
    """
    fused = module.graph.find_nodes(op="call_function", target=FUSED)
    kept = {vector for node in fused for vector in node.args[2:4]}
    for node in module.graph.find_nodes(op="get_attr"):
        value = attrgetter(node.target)(module)
        if node not in kept and value.is_floating_point():
            path, _, name = str(node.target).rpartition(".")
            cast = torch.nn.Parameter(value.detach().to(dtype), requires_grad=False)
            owner = module.get_submodule(path)
            delattr(owner, name)
            owner.register_parameter(name, cast)
