"""The CUDA kernels on a GPU: values, derivatives, sizes beyond 32 bits, a network's training."""

import subprocess
import sys

import hypothesis.strategies as st
import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import given
from sweep import VIEWS, problems, same_each_time
from torch.autograd import gradcheck, gradgradcheck

from rednet import involution2d, involution2d_grad_input, involution2d_grad_weight
from rednet.ops import Window, backend, reference

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu")]


DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
LAYOUTS = ["contiguous", "channels_last"]
WINDOWS = [(3, 1, 1, 1), (3, 2, 1, 1), (7, 2, 3, 1), (2, 3, 1, 2)]


@pytest.fixture
def on_gpu(gpu, make_case, view):
    """Return a function that makes input, weight and gradient of the output on the GPU."""

    def make(size, groups, window, batch=2, views=("contiguous",) * 3, **options):
        case = make_case(size, groups, window, batch, **options)
        return [
            view(tensor.to(gpu), name).detach() for tensor, name in zip(case, views, strict=True)
        ]

    return make


@same_each_time(2)
@given(
    problem=problems(),
    dtype=st.sampled_from(DTYPES),
    views=st.tuples(*[st.sampled_from(VIEWS)] * 3),
)
def test_values(gpu, make_case, view, assert_accurate, problem, dtype, views):
    case = [tensor.to(gpu) for tensor in make_case(**problem, dtype=dtype)]
    assert_accurate(*map(view, case, views), problem["groups"], problem["window"])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [7, 14, 28, 56, 112, 33])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_layers_of_rednet(on_gpu, assert_accurate, stride, size, dtype, layout):
    window = (7, stride, 3, 1)
    views = (layout,) * 3
    case = on_gpu((size, size), 3, window, 2, views, group_width=16, dtype=dtype)
    assert_accurate(*case, 3, window)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "size, groups, batch",
    [((3, 3), 2, 70_000), ((3, 3), 70_000, 1), ((1, 100_000), 2, 1), ((100_000, 1), 2, 1)],
)
def test_large_grids(on_gpu, assert_accurate, size, groups, batch, layout):
    """A grid has at most 65,535 blocks in y and z."""
    window = (3, 1, 1, 1)
    views = (layout,) * 3
    case = on_gpu(size, groups, window, batch, views, group_width=1, dtype=torch.float32)
    assert_accurate(*case, groups, window)


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinities_and_nan_do_not_spread(on_gpu, assert_accurate, dtype):
    window = (3, 1, 1, 1)
    case = on_gpu((9, 10), 2, window, views=("channels_last",) * 3, group_width=16, dtype=dtype)
    for tensor, value in zip(case, (torch.inf, torch.nan, -torch.inf), strict=True):
        tensor[0, 1, 2, 3] = value
    assert_accurate(*case, 2, window)


@pytest.mark.parametrize("layouts", [LAYOUTS, LAYOUTS[::-1], LAYOUTS[1:] * 2])
@pytest.mark.parametrize("window", WINDOWS)
def test_first_and_second_derivatives(on_gpu, window, layouts):
    case = on_gpu((5, 4), 2, window, 1, (*layouts, layouts[0]), group_width=2)
    leaves = [tensor.requires_grad_() for tensor in case[:2]]
    assert gradcheck(lambda a, b: involution2d(a, b, *window), leaves)
    assert gradgradcheck(lambda a, b: involution2d(a, b, *window), leaves, fast_mode=True)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_opcheck(on_gpu, dtype, layout):
    window = (3, 2, 1, 1)
    case = on_gpu((5, 4), 2, window, views=(layout,) * 3, dtype=dtype)
    input, weight, grad = (tensor.requires_grad_() for tensor in case)
    library = torch.ops.rednet
    tests = ["test_schema", "test_autograd_registration", "test_faketensor"]
    for operator, arguments in (
        (library.involution2d, (input, weight, *window)),
        (library.involution2d_grad_input, (grad, weight, 5, 4, *window)),
        (library.involution2d_grad_weight, (grad, input, 2, *window)),
    ):
        torch.library.opcheck(operator.default, arguments, test_utils=tests)


def test_the_same_bits_every_time(on_gpu, operators):
    window = (7, 1, 3, 1)
    views = ("channels_last",) * 3
    case = on_gpu((56, 56), 4, window, 8, views, group_width=16, dtype=torch.float16)
    first = operators(*case, 4, window)
    for _ in range(100):
        for one, again in zip(first, operators(*case, 4, window), strict=True):
            assert torch.equal(one, again)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch, side", [(1, 5824), (2, 4160)])
def test_more_than_two_billion_elements(gpu, batch, side, layout):
    """Compare the last rows with the same rows of an image that ends where this one ends."""
    channels, window = 64, Window(3, 1, 1)
    assert batch * channels * side * side > 2**31
    free, _ = torch.cuda.mem_get_info(gpu)
    if free < 20 * 2**30:
        pytest.skip(f"it takes 20 GiB of the GPU's memory; {free / 2**30:.0f} GiB are free")
    options = {"dtype": torch.float16, "device": gpu}
    input = torch.empty((batch, channels, side, side), **options, memory_format=layout).normal_()
    weight = torch.empty((batch, 9, side, side), **options, memory_format=layout).normal_()
    ends = [tensor[:, :, -12:].double() for tensor in (input, weight)]
    cases = [
        (lambda: involution2d(input, weight, 3, 1, 1), reference.involution2d(*ends, window)),
        (
            lambda: involution2d_grad_input(input, weight, (side, side), 3, 1, 1),
            reference.involution2d_grad_input(*ends, (12, side), window),
        ),
        (
            lambda: involution2d_grad_weight(input, input, 1, 3, 1, 1),
            reference.involution2d_grad_weight(ends[0], ends[0], 1, window),
        ),
    ]
    for operator, exact in cases:
        found = operator()[:, :, -8:].double()
        torch.testing.assert_close(found, exact[:, :, -8:], rtol=2e-3, atol=5e-3)


def gradients_of(name, precision, images, labels):
    """Return all gradients of a training step as one vector; the loss scale is fixed."""
    torch.manual_seed(0)
    network = timm.create_model("rednet50", num_classes=10).to(images.device)
    network = network.to(memory_format=torch.channels_last).train()
    enabled = precision != torch.float32
    with backend(name), torch.autocast(images.device.type, precision, enabled=enabled):
        loss = F.cross_entropy(network(images).float(), labels)
        (256 * loss).backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters()]).double()


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_a_training_step_of_rednet50(gpu, precision, monkeypatch):
    """Half precision is as close to float32 as with the reference backend."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    images = torch.randn(8, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    images = images.to(gpu, memory_format=torch.channels_last)
    labels = torch.arange(8, device=gpu)
    exact = gradients_of("reference", torch.float32, images, labels)
    scale = exact.norm()
    in_float32 = (gradients_of("cuda", torch.float32, images, labels) - exact).norm() / scale
    ours, theirs = (
        (gradients_of(name, precision, images, labels) - exact).norm() / scale
        for name in ("cuda", "reference")
    )
    assert in_float32 < 0.05 * theirs + 1e-3
    assert ours < 1.5 * theirs


def test_without_cupy_the_reference_is_used(gpu):
    code = """
import sys, warnings
sys.modules["cupy"] = None
import torch, rednet
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    input, weight = torch.ones(1, 2, 3, 3).cuda(), torch.ones(1, 9, 3, 3).cuda()
    print(rednet.involution2d(input, weight, 3, 1, 1).sum().item())
print([str(warning.message) for warning in caught if "rednet" in str(warning.message)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    value, said = done.stdout.splitlines()
    assert float(value) == 2 * (4 * 4 + 4 * 6 + 9)
    extra = f"rednet[cuda{torch.version.cuda.partition('.')[0]}]"
    assert said.count("backend 'cuda' cannot run") == 1 and extra in said
