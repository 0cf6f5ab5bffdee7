"""Batch normalisation folded into the convolution before it."""

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.nn.utils import fuse_conv_bn_weights

aten = torch.ops.aten
CONVOLUTIONS = (aten.conv1d.default, aten.conv2d.default, aten.conv3d.default)
NORM = aten.batch_norm.default


def fold_batch_norms(module: GraphModule) -> GraphModule:
    """Fold every batch normalisation of a graph that alone follows a convolution.

    One that follows an involution stays: kernels are shared by the channels of a group and depend
    on the input, so that nothing could take up its factors.

    Args:
        module: A graph of `torch.export` in evaluation mode, which is changed.
    """
    for norm in module.graph.find_nodes(op="call_function", target=NORM):
        conv = norm.args[0]
        if _can_fold(module, conv, norm):
            _fold(module, conv, norm)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module


def _can_fold(module: GraphModule, conv: Any, norm: Node) -> bool:
    """Return whether a node is a convolution that only this normalisation in evaluation uses."""
    if not isinstance(conv, Node) or conv.target not in CONVOLUTIONS or len(conv.users) != 1:
        return False
    tensors: Any = (*conv.args[1:3], *norm.args[1:5])
    constants = [node for node in tensors if node is not None]
    uses = [node.target for node in module.graph.find_nodes(op="get_attr")]
    weights = [node.target for node in conv.args[1:3] if isinstance(node, Node)]
    training = norm.args[5]
    return (
        not training
        and all(isinstance(node, Node) and node.op == "get_attr" for node in constants)
        and all(uses.count(name) == 1 for name in weights)
    )


def _fold(module: GraphModule, conv: Node, norm: Node) -> None:
    inputs: Any = (*conv.args, None)
    weight, bias = inputs[1:3]
    others: Any = norm.args
    gamma, beta, mean, variance = others[1:5]
    values: Any = [_value(module, node) for node in (weight, bias, mean, variance, gamma, beta)]
    fuse: Any = fuse_conv_bn_weights
    new_weight, new_bias = fuse(*values[:4], others[7], *values[4:])
    path, _, name = weight.target.rpartition(".")
    owner = module.get_submodule(path)
    dtype = owner.get_parameter(name).dtype
    setattr(owner, name, torch.nn.Parameter(new_weight.to(dtype), requires_grad=False))
    owner.register_parameter("bias", torch.nn.Parameter(new_bias.to(dtype), requires_grad=False))
    with module.graph.inserting_before(conv):
        node = module.graph.get_attr(f"{path}.bias" if path else "bias")
    conv.args = (*conv.args[:2], node, *conv.args[3:])
    norm.replace_all_uses_with(conv)
    module.graph.erase_node(norm)


def _value(module: GraphModule, node: Any) -> Tensor | None:
    """Return the value of a constant, in float64 so that folding rounds once."""
    if node is None:
        return None
    path, _, name = node.target.rpartition(".")
    value: Tensor = getattr(module.get_submodule(path), name)
    return value.detach().double()
