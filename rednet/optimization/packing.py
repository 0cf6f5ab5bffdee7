"""A graph of `torch.export` on oneDNN's convolutions: packed weights, and what follows fused.

These are the operators that Inductor generates calls of with `freezing`. A graph has them at once,
without a compiler, and for any number of images.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from rednet.export.fusing import FUSED, INVOLUTION
from rednet.ops import torch_ops
from rednet.ops.native_span import pack_span
from rednet.ops.packed_span import can_run, span_involution2d

aten = torch.ops.aten
mkldnn: Any = torch.ops.mkldnn
CONV = aten.conv2d.default
ADD = aten.add.Tensor
RELU = aten.relu.default
PACKED = (mkldnn._convolution_pointwise.default, mkldnn._convolution_pointwise_.binary)
# Their results are new tensors, which no other node has a view of, and may be written over.
FRESH = (
    *(CONV, *PACKED, RELU, ADD, aten.max_pool2d.default, aten.avg_pool2d.default),
    *(INVOLUTION, FUSED, span_involution2d),
)


def unavailable_reason(dtype: torch.dtype) -> str | None:
    """Return why oneDNN cannot run networks of a dtype here, or None if it can."""
    if not torch.backends.mkldnn.is_available():
        return "this PyTorch is built without oneDNN"
    if dtype not in (torch.float32, torch.bfloat16):
        return f"oneDNN's convolutions are used in float32 and bfloat16, not in {dtype}"
    if dtype is torch.bfloat16 and not mkldnn._is_mkldnn_bf16_supported():
        return "this CPU has no bfloat16 arithmetic that oneDNN uses"
    return None


def pack(module: GraphModule, batch: int) -> GraphModule:
    """Replace the convolutions and linear layers of a graph by oneDNN's, with packed weights.

    Args:
        module: A functional graph of `torch.export` for inference, which is changed.
        batch: The number of images for which weights are packed.
    """
    graph = module.graph
    for target in (FUSED, INVOLUTION):
        for node in graph.find_nodes(op="call_function", target=target):
            if _is_spanned(node):
                _join_span(module, node)
    for node in graph.find_nodes(op="call_function", target=CONV):
        if _can_pack(node):
            _pack_convolution(module, node, batch)
    for node in graph.find_nodes(op="call_function", target=aten.linear.default):
        if node.args[0].meta["val"].dim() == 2 and _is_constant(node.args[1]):
            _pack_linear(module, node, batch)
    for node in graph.find_nodes(op="call_function", target=FUSED):
        node.target = torch_ops.run_affine  # spares each call torch's dispatcher
    for node in graph.find_nodes(op="call_function", target=aten.view.default):
        node.target = aten.reshape.default  # oneDNN's results are channels_last
    _drop_unused(module)
    graph.lint()
    module.recompile()
    return module


def _drop_unused(module: GraphModule) -> None:
    """Remove the weights that are not used any more from the graph and from memory."""
    for node in module.graph.find_nodes(op="get_attr"):
        if not node.users:
            module.graph.erase_node(node)
    used = {str(node.target) for node in module.graph.find_nodes(op="get_attr")}
    for name, _ in [*module.named_parameters(), *module.named_buffers()]:
        if name not in used:
            path, _, attribute = name.rpartition(".")
            delattr(module.get_submodule(path), attribute)


def _can_pack(conv: Node) -> bool:
    """Return whether a convolution has constant weights and images of a known size."""
    shape = conv.args[0].meta["val"].shape  # type: ignore[union-attr]
    is_fixed = len(shape) == 4 and all(isinstance(size, int) for size in shape[1:])
    return is_fixed and all(n is None or _is_constant(n) for n in conv.args[1:3])


def _is_constant(node: Any) -> bool:
    return isinstance(node, Node) and node.op == "get_attr"


def _is_spanned(involution: Node) -> bool:
    """Return whether a 1x1 convolution that nothing else uses makes an involution's kernels."""
    conv: Any = involution.args[1]
    if conv.target is not CONV or len(conv.users) != 1 or not _can_pack(conv):
        return False
    _, weight, _, numbers = _convolution_arguments(conv)
    return (
        weight.meta["val"].shape[2:] == (1, 1)
        and numbers == [[0, 0], [1, 1], [1, 1], 1]
        and can_run(conv.meta["val"].dtype)
    )


def _join_span(module: GraphModule, involution: Node) -> None:
    """Replace an involution and the convolution that makes its kernels by one function."""
    graph = module.graph
    image, conv, *rest = involution.args
    if involution.target is INVOLUTION:
        rest = [None, None, False, *rest]  # no scale, no shift, no ReLU
    kernel_size: Any = rest[3]
    reduced, weight, bias, _ = _convolution_arguments(conv)  # type: ignore[arg-type]
    packed = pack_span(
        _value(module, weight),
        None if bias is None else _value(module, bias),
        kernel_size**2,
        reduced.meta["val"].dtype,
    )
    with graph.inserting_before(involution):
        constants = [
            _constant(module, f"{involution.name}_span_{name}", value)
            for name, value in zip(("weight", "bias"), packed, strict=True)
        ]
        fused = graph.call_function(span_involution2d, (image, reduced, *constants, *rest))
    fused.meta["val"] = involution.meta["val"]
    involution.replace_all_uses_with(fused)
    for node in (involution, conv):
        graph.erase_node(node)  # type: ignore[arg-type]


def _pack_convolution(module: GraphModule, conv: Node, batch: int) -> None:
    """Replace a convolution, and the sum and ReLU after it, by one operator."""
    graph = module.graph
    input, weight, bias, numbers = _convolution_arguments(conv)
    images = [batch, *input.meta["val"].shape[1:]]
    packed = _pack_weight(_value(module, weight), numbers, images)
    with graph.inserting_before(conv):
        constants = [_constant(module, f"{conv.name}_packed", packed), bias]
    add, other = _following_sum(graph, conv, input)
    last = conv if add is None else add
    relu = _only_user(last, RELU)
    arguments: tuple[Any, ...] = (input, *constants, *numbers)
    with graph.inserting_before(last):
        if add is None:
            end: tuple[Any, ...] = ("none" if relu is None else "relu", [], "")
            fused = graph.call_function(mkldnn._convolution_pointwise.default, (*arguments, *end))
        else:
            sums: tuple[Any, ...] = ("add", 1.0, None if relu is None else "relu", [], "")
            fused = graph.call_function(
                mkldnn._convolution_pointwise_.binary, (other, *arguments, *sums)
            )
    fused.meta["val"] = last.meta["val"]
    replaced = [node for node in (relu, add, conv) if node is not None]
    replaced[0].replace_all_uses_with(fused)
    for node in replaced:
        graph.erase_node(node)


def _convolution_arguments(conv: Node) -> tuple[Node, Node, Node | None, list[Any]]:
    """Return input, weight and bias, and padding, stride, dilation and groups in that order."""
    defaults: list[Any] = [None, [1], [0], [1], 1]
    args: list[Any] = [*conv.args, *defaults[len(conv.args) - 2 :]]
    stride, padding, dilation = (list(side) * (2 // len(side)) for side in args[3:6])
    return args[0], args[1], args[2], [padding, stride, dilation, args[6]]


def _pack_weight(weight: Tensor, numbers: Sequence[Any], images: list[int]) -> Tensor:
    weight = weight.contiguous(memory_format=torch.channels_last)
    return mkldnn._reorder_convolution_weight(weight, *numbers, images)


def _following_sum(graph: Graph, conv: Node, input: Node) -> tuple[Node | None, Node | None]:
    """Return the sum after a convolution and its other term, if the sum can be written over that.

    The convolution is then computed where the sum was, so that its input must live until there,
    unchanged; the other term must be a tensor that nothing else reads afterwards.
    """
    add = _only_user(conv, ADD)
    if add is None or add.kwargs or len(add.args) != 2:
        return None, None
    other: Any = next((term for term in add.args if term is not conv), None)
    place = {node: index for index, node in enumerate(graph.nodes)}
    if (
        isinstance(other, Node)
        and other.target in FRESH
        and other.meta["val"].shape == add.meta["val"].shape
        and other.meta["val"].dtype == add.meta["val"].dtype
        and place[other] < place[conv]
        and conv not in other.users
        and all(
            user is add or (place[user] < place[add] and user.target in FRESH)
            for user in other.users
        )
        and not any(_writes_over(user, input) for user in input.users)
    ):
        return add, other
    return None, None


def _writes_over(node: Node, tensor: Node) -> bool:
    return node.target is mkldnn._convolution_pointwise_.binary and node.args[0] is tensor


def _only_user(node: Node, target: Any) -> Node | None:
    """Return the only user of a node if it is a call of the target."""
    users = list(node.users)
    return users[0] if len(users) == 1 and users[0].target is target else None


def _pack_linear(module: GraphModule, linear: Node, batch: int) -> None:
    input, weight, *rest = linear.args
    packed = mkldnn._reorder_linear_weight(_value(module, weight), batch)
    with module.graph.inserting_before(linear):
        constant = _constant(module, f"{linear.name}_packed", packed)
        bias = rest[0] if rest else None
        fused = module.graph.call_function(
            mkldnn._linear_pointwise.default, (input, constant, bias, "none", [], "")
        )
    linear.replace_all_uses_with(fused)
    module.graph.erase_node(linear)


def _constant(module: GraphModule, name: str, value: Tensor) -> Node:
    module.register_buffer(name, value)
    return module.graph.get_attr(name)


def _value(module: GraphModule, node: Any) -> Tensor:
    value: Tensor = attrgetter(node.target)(module)
    return value.detach()
