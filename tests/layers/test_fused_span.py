"""Where no gradient is recorded, an involution's kernels are made on the way, unnoticed."""

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parametrizations, prune
from torch.utils.flop_counter import FlopCounterMode

from rednet.layers import Involution2d, involution
from rednet.ops import backend, native_span
from rednet.ops.packed_span import can_run

pytestmark = pytest.mark.skipif(not can_run(torch.float32), reason="there is no C++ compiler")


class Replaced(Involution2d):
    def apply_kernel(self, x, kernel):
        return 2 * super().apply_kernel(x, kernel)


def make(cls=Involution2d, **options):
    torch.manual_seed(0)
    return cls(32, **{"kernel_size": 5, **options}).eval()


def images(dtype=torch.float32, size=(9, 10), channels=32):
    torch.manual_seed(1)
    x = torch.randn(2, channels, *size, dtype=dtype)
    return x.contiguous(memory_format=torch.channels_last)


@pytest.fixture
def calls(monkeypatch):
    """Count how often the fused function runs."""
    made = []
    run = native_span.run_packed
    monkeypatch.setattr(native_span, "run_packed", lambda *args: made.append(args) or run(*args))
    return made


def unfused(module, x):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(involution, "fused_span", lambda *args: None)
        return module(x)


@torch.no_grad()
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel_size": 7, "stride": 2},
        {"kernel_size": 3, "stride": 3, "dilation": 2},
        {"generator": "linear", "group_channels": 4},
        {"reduction": 3, "group_channels": "layer", "recompute_kernel": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values(options, dtype, calls):
    module, x = make(**options).to(dtype), images(dtype)
    found = module(x)
    assert len(calls) == 1
    expected = unfused(module.double(), x.double())
    assert found.dtype is dtype
    error = (found - expected).abs().max() / expected.abs().max()
    assert error < (1e-6 if dtype is torch.float32 else 0.02)
    assert found.is_contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def test_autocast(calls):
    module, x = make(), images(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = module(x), unfused(module, x)
    assert len(calls) == 1
    assert found.dtype is expected.dtype is torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("recompute", [False, True])
def test_frozen_weights_need_no_context(recompute, calls):
    module = make(recompute_kernel=recompute).requires_grad_(False)
    module(images())
    assert len(calls) == 1
    assert module(images().requires_grad_()).requires_grad
    assert len(calls) == 1


def _weight_norm(module):
    parametrizations.weight_norm(module.conv2.conv)


def _prune(module):
    prune.l1_unstructured(module.conv2.conv, "weight", 0.5)


def _hook(module):
    module.conv2.register_forward_hook(lambda module, args, output: 2 * output)


def _hook_inside(module):
    module.conv2.conv.register_forward_pre_hook(lambda module, args: (2 * args[0],))


def _another_convolution(module):
    module.conv2.conv = nn.Conv2d(8, 50, 3, padding=1)


def _another_span(module):
    module.conv2 = nn.Sequential(module.conv2, nn.Tanh())


def _another_kernel(module):
    module.kernel = lambda x: module.conv2(module.conv1(x)) + 1


def _another_application(module):
    module.apply_kernel = lambda x, kernel: x + kernel[:, :1]


def _grouped(module):
    module.conv2.conv = nn.Conv2d(8, 50, 1, groups=2)


@torch.no_grad()
@pytest.mark.parametrize(
    "change",
    [
        *(_weight_norm, _prune, _hook, _hook_inside, _another_convolution, _another_span),
        *(_another_kernel, _another_application, _grouped),
    ],
)
def test_changed_modules_run_as_they_are(change, calls):
    module = make()
    change(module)
    assert torch.equal(module(images()), unfused(module, images()))
    assert not calls


@torch.no_grad()
@pytest.mark.parametrize(
    "x", [images(torch.float64), images().contiguous()], ids=["float64", "contiguous"]
)
def test_other_images_run_as_before(x, calls):
    module = make().to(x.dtype)
    assert torch.equal(module(x), unfused(module, x))
    assert not calls


@torch.no_grad()
def test_subclasses_and_observers_see_every_operation(calls):
    x = images()
    assert torch.equal(make(Replaced)(x), 2 * unfused(make(), x))
    with FlopCounterMode(display=False) as counter:
        make()(x)
    assert counter.get_total_flops() > 0
    with backend("reference"):
        make()(x)
    torch.func.vmap(make())(x[None])
    assert not calls
    handle = nn.modules.module.register_module_forward_hook(lambda *args: None)
    make()(x)
    handle.remove()
    assert not calls


@torch.no_grad()
def test_replaced_weights_are_used(calls):
    module, x = make(), images()
    weight = torch.ones_like(module.conv2.conv.weight)
    found = functional_call(module, {"conv2.conv.weight": weight}, x)
    module.conv2.conv.weight.copy_(weight)
    assert torch.equal(found, module(x))
    module.conv2.conv.weight.mul_(2)  # nothing is kept from call to call
    assert not torch.equal(found, module(x))
    assert len(calls) == 3


@torch.no_grad()
def test_wrong_sizes_get_the_operators_error():
    module = make()
    module.conv1 = nn.AvgPool2d(2)
    module.conv2.conv = nn.Conv2d(32, 50, 1)
    with pytest.raises(ValueError, match="got a tensor for"):
        module(images())
