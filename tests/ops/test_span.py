"""An involution and its span as one operator: values, derivatives, and what torch asks of it."""

import pytest
import tiled_span
import torch
import torch.nn.functional as F
from torch._dynamo.testing import CompileCounterWithBackend
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from rednet import involution2d
from rednet.export import decompose
from rednet.ops import backend, involution2d_span, register_backend

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")

WINDOW = (3, 2, 1, 1)
WINDOWS = [WINDOW, (3, 1, 2, 2), (1, 1, 0, 1)]
SIZE, GROUPS, DEPTH = (5, 4), 2, 3


@pytest.fixture(params=["composed", "tiled"])
def operators(request):
    """Compute by the composition, or by a backend that has its own operators."""
    with register_backend(tiled_span.BACKEND):
        with backend("reference" if request.param == "composed" else tiled_span.NAME):
            tiled_span.CALLS.clear()
            yield request.param
        assert (request.param == "tiled") == bool(tiled_span.CALLS)


def make(window=WINDOW, dtype=torch.float64, layout=torch.contiguous_format, batch=2):
    """Return input, reduced images, weight and bias of the span, and the output's gradient."""
    kernel_size, stride, padding, dilation = window
    outputs = [(s + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1 for s in SIZE]
    generator = torch.Generator().manual_seed(0)
    rows, channels = GROUPS * kernel_size**2, GROUPS * 2
    shapes = [(batch, channels, *SIZE), (batch, DEPTH, *outputs), (rows, DEPTH, 1, 1), (rows,)]
    shapes.append((batch, channels, *outputs))
    tensors = [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]
    return [t.contiguous(memory_format=layout) if t.dim() == 4 else t for t in tensors]


def composed(input, reduced, weight, bias, *window):
    return involution2d(input, F.conv2d(reduced, weight, bias), *window)


def leaves(tensors):
    return [tensor.detach().requires_grad_() for tensor in tensors]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("window", WINDOWS)
def test_first_and_second_derivatives(window, bias, operators):
    tensors = leaves(make(window)[: 3 + bias])

    def function(*tensors):
        return involution2d_span(*tensors, *[None] * (not bias), *window)

    assert gradcheck(function, tensors, fast_mode=True)
    assert gradgradcheck(function, tensors, fast_mode=True)


def test_third_derivatives(operators):
    *tensors, _ = leaves(make(WINDOW, batch=1))

    def second(*tensors):
        (first,) = torch.autograd.grad(
            involution2d_span(*tensors, *WINDOW).square().sum(), tensors[1], create_graph=True
        )
        return torch.autograd.grad(first.square().sum(), tensors, create_graph=True)

    assert gradcheck(second, tensors, fast_mode=True)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_gradients_are_those_of_the_composition(dtype, layout, operators):
    *tensors, grad = make(dtype=dtype, layout=layout)
    found, expected = [], []
    for results, function in ((found, involution2d_span), (expected, composed)):
        inputs = leaves(tensors)
        output = function(*inputs, *WINDOW)
        results += [output, *torch.autograd.grad(output, inputs, grad)]
    tolerance = {"rtol": 0.05, "atol": 0.15} if dtype == torch.bfloat16 else {}
    for one, other, like in zip(found, expected, [grad, *tensors], strict=True):
        torch.testing.assert_close(one, other, **tolerance)
        assert one.stride() == like.stride()


def test_only_needed_gradients_are_computed():
    *tensors, grad = make()
    with register_backend(tiled_span.BACKEND), backend(tiled_span.NAME):
        for index in range(4):
            tiled_span.CALLS.clear()
            inputs = [t.clone().requires_grad_(i == index) for i, t in enumerate(tensors)]
            involution2d_span(*inputs, *WINDOW).backward(grad)
            name = "span_gradients" if index else "span_grad_input"
            assert dict(tiled_span.CALLS) == {"span_involution2d": 1, name: 1}


CALLS = {
    "involution2d_span": lambda i, r, w, b, g: (i, r, w, b, *WINDOW),
    "involution2d_span_grad_input": lambda i, r, w, b, g: (g, r, w, None, *SIZE, *WINDOW),
    "involution2d_span_gradients": lambda i, r, w, b, g: (g, i, r, w, *WINDOW),
}


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", CALLS)
def test_opcheck(name, layout, operators):
    arguments = CALLS[name](*leaves(make(dtype=torch.float32, layout=layout)))
    tests = ["test_schema", "test_autograd_registration", "test_faketensor"]
    torch.library.opcheck(getattr(torch.ops.rednet, name).default, arguments, test_utils=tests)


@pytest.mark.nightly
@pytest.mark.parametrize("name", CALLS)
def test_opcheck_with_dynamic_shapes(name, operators):
    arguments = CALLS[name](*leaves(make(dtype=torch.float32)))
    operator = getattr(torch.ops.rednet, name).default
    torch.library.opcheck(operator, arguments, test_utils="test_aot_dispatch_dynamic")


def test_one_graph_for_every_batch_size(operators):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(
        lambda *tensors: involution2d_span(*tensors, *WINDOW),
        fullgraph=True,
        dynamic=True,
        backend=counter,
    )
    for batch in (6, 7, 11):  # unlike the other sizes
        *tensors, _ = make(dtype=torch.float32, batch=batch)
        assert torch.equal(compiled(*tensors), involution2d_span(*tensors, *WINDOW))
    assert counter.frame_count == 1


def test_autocast(operators):
    *tensors, grad = leaves(make(dtype=torch.float32))
    outputs = []
    for function in (involution2d_span, composed):
        with torch.autocast("cpu", torch.bfloat16):
            outputs.append(function(*tensors, *WINDOW))
    assert outputs[0].dtype is outputs[1].dtype is torch.bfloat16
    torch.testing.assert_close(*outputs, rtol=0.05, atol=0.1)
    (gradient,) = torch.autograd.grad(outputs[0], tensors[2], grad.bfloat16())
    assert gradient.dtype is torch.float32
    with torch.autocast("cpu", torch.bfloat16):  # which casts at the function, not at the operator
        direct = torch.ops.rednet.involution2d_span(*tensors, *WINDOW)
    torch.testing.assert_close(direct, composed(*tensors, *WINDOW))


def test_no_tensor_of_kernels():
    sizes = set()

    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            results = function(*args, **(kwargs or {}))
            several = results if isinstance(results, tuple | list) else [results]
            sizes.update(t.shape for t in several if isinstance(t, torch.Tensor))
            return results

    *tensors, grad = leaves(make(dtype=torch.float32))
    kernels = (2, GROUPS * 9, *grad.shape[2:])
    for function, stores in ((composed, True), (involution2d_span, False)):
        sizes.clear()
        with Record():
            function(*tensors, *WINDOW).backward(grad)
        assert (kernels in sizes) == stores


def test_transforms():
    *tensors, _ = make()
    which = (0, 1, 2, 3)
    for transform in (
        lambda f: torch.func.grad(lambda *t: f(*t, *WINDOW).sin().sum(), which),
        lambda f: torch.func.jacfwd(lambda *t: f(*t, *WINDOW).sum((2, 3)), which),
    ):
        torch.testing.assert_close(
            transform(involution2d_span)(*tensors), transform(composed)(*tensors)
        )
    stacked = [torch.stack([tensor, tensor.sin()], -1) for tensor in tensors]
    mapped = [
        torch.vmap(lambda *t, f=f: f(*t, *WINDOW), -1)(*stacked)
        for f in (involution2d_span, composed)
    ]
    torch.testing.assert_close(*mapped)


def test_direct_calls_can_be_mapped_but_refuse_tangents():
    input, reduced, weight, bias, grad = make()
    library = torch.ops.rednet
    mapped = torch.vmap(
        lambda x, w: library.involution2d_span(x, reduced, w, bias, *WINDOW), (0, None)
    )(torch.stack([input, input.sin()]), weight)
    torch.testing.assert_close(mapped[1], composed(input.sin(), reduced, weight, bias, *WINDOW))
    mapped = torch.vmap(
        lambda w: library.involution2d_span_gradients(grad, input, reduced, w, *WINDOW)
    )(torch.stack([weight, weight.sin()]))
    single = library.involution2d_span_gradients(grad, input, reduced, weight, *WINDOW)
    torch.testing.assert_close([result[0] for result in mapped], list(single))
    with forward_ad.dual_level(), pytest.raises(NotImplementedError, match="forward-mode"):
        library.involution2d_span(
            forward_ad.make_dual(input, input), reduced, weight, bias, *WINDOW
        )


def test_exported_programs_have_the_composition():
    class Module(torch.nn.Module):
        def forward(self, *tensors):
            return involution2d_span(*tensors, *WINDOW)

    *tensors, _ = make(dtype=torch.float32)
    program = torch.export.export(Module(), tuple(tensors))
    names = [str(node.target) for node in program.graph.nodes]
    assert "rednet.involution2d.default" in names
    assert not [name for name in names if "span" in name]
    trace = torch.jit.trace(Module(), tuple(tensors), check_trace=False)
    assert "involution2d_span" not in str(trace.inlined_graph)


def test_a_direct_call_is_decomposed():
    class Module(torch.nn.Module):
        def forward(self, *tensors):
            return torch.ops.rednet.involution2d_span(*tensors, *WINDOW)

    *tensors, _ = make(dtype=torch.float32)
    program = decompose(torch.export.export(Module(), tuple(tensors)))
    assert "rednet" not in str(program.graph)
    torch.testing.assert_close(program.module()(*tensors), composed(*tensors, *WINDOW))


BAD = [
    ({1: lambda t: t[:, :2]}, r"span_weight must have shape \(G\*K\*K, 2, 1, 1\)"),
    ({1: lambda t: t[:, :, 1:]}, "got a tensor for"),
    ({1: lambda t: t[:1]}, "same batch size"),
    ({1: lambda t: t.float()}, "same dtype"),
    ({2: lambda t: t[:-1], 3: lambda t: t[:-1]}, "a multiple of K\\*K = 9 rows, got 17"),
    ({2: lambda t: torch.cat([t, t[:9]])}, "4 channels cannot be divided into 3 groups"),
    ({2: lambda t: t.flatten(1)}, r"got \(18, 3\)"),
    ({2: lambda t: t.float()}, "span_weight must be torch.float64"),
    ({3: lambda t: t[1:]}, r"span_bias must have shape \(18,\), got \(17,\)"),
    ({3: lambda t: t.float()}, "span_bias must be torch.float64"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_wrong_arguments(changes, message):
    *tensors, _ = make()
    for index, change in changes.items():
        tensors[index] = change(tensors[index])
    with pytest.raises(ValueError, match=message):
        involution2d_span(*tensors, *WINDOW)


def test_wrong_arguments_of_the_gradients():
    input, reduced, weight, bias, grad = make()
    library = torch.ops.rednet
    with pytest.raises(ValueError, match="got a tensor for"):
        library.involution2d_span_grad_input(grad, reduced, weight, bias, 9, 4, *WINDOW)
    with pytest.raises(ValueError, match="grad has 2 channels, input 4"):
        library.involution2d_span_gradients(grad[:, :2], input, reduced, weight, *WINDOW)
    with pytest.raises(ValueError, match="got a tensor for"):
        library.involution2d_span_gradients(grad, input, reduced[:, :, 1:], weight, *WINDOW)
