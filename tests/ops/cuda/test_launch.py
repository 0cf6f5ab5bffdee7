"""What the cuda backend asks of CuPy, recorded by a fake; no GPU is needed."""

import contextlib
import sys
import threading
from collections import Counter
from itertools import product
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from rednet import involution2d
from rednet.ops import Window
from rednet.ops.cuda import backend, modules
from rednet.ops.cuda.plan import plan_grad_input, plan_grad_weight, plan_involution2d

WINDOW = Window(7, 1, 3, 1)
CHANNELS_LAST = torch.channels_last


def tensors(batch=2, groups=2, group_width=16, size=(14, 14), window=WINDOW, **options):
    """Input, weight and gradient of the output."""
    layout = options.pop("memory_format", torch.contiguous_format)
    outputs = [window.output_size(side) for side in size]
    shapes = [
        (batch, groups * group_width, *size),
        (batch, groups * window.area, *outputs),
        (batch, groups * group_width, *outputs),
    ]
    return [torch.ones(shape, **options).contiguous(memory_format=layout) for shape in shapes]


def call_all(input, weight, grad, window=WINDOW):
    """Output and both gradients."""
    return [
        backend.involution2d(input, weight, window),
        backend.involution2d_grad_input(grad, weight, tuple(input.shape[2:]), window),
        backend.involution2d_grad_weight(grad, input, weight.shape[1] // window.area, window),
    ]


def call(window=WINDOW, **case):
    return call_all(*tensors(window=window, **case), window)


@pytest.mark.parametrize("layout", [torch.contiguous_format, CHANNELS_LAST])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_what_is_planned_is_launched(cupy, dtype, layout):
    input, weight, grad = tensors(dtype=dtype, memory_format=layout)
    output, to_input, to_weight = call_all(input, weight, grad)
    plans = [
        plan_involution2d(input, weight, output, WINDOW),
        plan_grad_input(grad, weight, to_input, WINDOW),
        plan_grad_weight(grad, input, to_weight, WINDOW),
    ]
    for launched, plan in zip(cupy.launches, plans, strict=True):
        assert launched.kernel.name == plan.kernel.operator
        assert launched.kernel.options == plan.kernel.options
        assert launched.grid == plan.grid
        assert launched.block == (plan.kernel.threads, 1, 1)
        assert launched.problem == plan.problem


@pytest.mark.parametrize("layout", [torch.contiguous_format, CHANNELS_LAST])
def test_results(cupy, layout):
    case = tensors(dtype=torch.float16, memory_format=layout, size=(15, 9))
    for result, like in zip(call_all(*case), (case[2], case[0], case[1]), strict=True):
        assert (result.shape, result.dtype) == (like.shape, like.dtype)
        assert result.is_contiguous(memory_format=layout)


def test_results_are_where_the_arguments_are(cupy):
    assert [result.device.type for result in call(device="meta")] == ["meta"] * 3


def test_one_channels_last_argument_makes_the_result_so(cupy):
    input, weight, _ = tensors()
    output = backend.involution2d(input, weight.contiguous(memory_format=CHANNELS_LAST), WINDOW)
    assert output.is_contiguous(memory_format=CHANNELS_LAST)


class Recorder(TorchDispatchMode):
    """Record the operations that torch is asked for."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.calls.append(str(function.overloadpacket))
        return function(*args, **kwargs or {})


def test_nothing_but_the_result_is_allocated(cupy):
    transposed = [tensor.transpose(2, 3) for tensor in tensors()]
    for case in (tensors(), tensors(memory_format=CHANNELS_LAST), transposed):
        with Recorder() as recorder:
            call_all(*case)
        assert recorder.calls == ["aten.empty"] * 3


def test_empty_sums(cupy):
    no_images = tensors(batch=0)
    assert [result.numel() for result in call_all(*no_images)] == [0, 0, 0]
    no_channels = tensors(group_width=0)
    assert [result.count_nonzero() for result in call_all(*no_channels)] == [0, 0, 0]
    assert cupy.launches == []


def test_lazily_negated_arguments(cupy):
    """The imaginary part of a conjugate is stored without its sign."""
    input, weight, _ = tensors(dtype=torch.float32)
    negated = torch.complex(input, input).conj().imag
    assert negated.is_neg()
    output = backend.involution2d(negated, weight, WINDOW)
    plain = backend.involution2d(input, weight, WINDOW)
    assert output.stride() == plain.stride()
    of_negated, of_plain = (launched.problem for launched in cupy.launches)
    assert negated.data_ptr().to_bytes(8, sys.byteorder) not in of_negated
    assert input.data_ptr().to_bytes(8, sys.byteorder) in of_plain


def test_the_current_stream(cupy, torch_state):
    for torch_state.handle in (0, 1 << 40, 77, 1 << 40):
        backend.involution2d(*tensors()[:2], WINDOW)
    assert [launched.stream for launched in cupy.launches] == [0, 1 << 40, 77, 1 << 40]
    assert len(cupy.compiled) == 1


def test_streams_of_cupy_13(cupy, torch_state):
    cupy.cuda.Stream = SimpleNamespace()
    cupy.cuda.ExternalStream = lambda handle: SimpleNamespace(ptr=handle)
    torch_state.handle = 1 << 40
    backend.involution2d(*tensors()[:2], WINDOW)
    assert cupy.launches[0].stream == 1 << 40


def planned():
    input, weight, output = tensors()
    return plan_involution2d(input, weight, output, WINDOW)


def test_the_device_of_the_tensors(cupy, torch_state):
    """A kernel is compiled once per device, and torch's current device is restored."""
    torch_state.device = 0
    for index in (0, 1, 1, 0, 2):
        backend.launch(planned(), torch.device("cuda", index))
        assert torch_state.device == 0
    assert [launched.kernel.device for launched in cupy.launches] == [0, 1, 1, 0, 2]
    assert [kernel.device for kernel in cupy.compiled] == [0, 1, 2]
    assert torch_state.switches == [1, 1, 2]


@pytest.mark.parametrize("layout", [torch.contiguous_format, CHANNELS_LAST])
@pytest.mark.parametrize("stride", [1, 2])
def test_another_batch_size_compiles_nothing(cupy, layout, stride):
    window = Window(7, stride, 3, 1)
    for batch in (1, 2, 3, 64, 257):
        call(window, batch=batch, memory_format=layout)
    assert Counter(kernel.name for kernel in cupy.compiled) == {
        "involution2d": 1,
        "involution2d_grad_input": 1,
        "involution2d_grad_weight": 1,
    }
    assert len(cupy.launches) == 15


@pytest.mark.parametrize("layout", [torch.contiguous_format, CHANNELS_LAST])
def test_few_kernels_serve_all_sizes(cupy, layout):
    """Their number is bounded by the number of tilings of an image."""
    for size in [(7, 7), (14, 14), (28, 28), (56, 56), (112, 112), (28, 31), (33, 57), (224, 8)]:
        call(batch=1, size=size, memory_format=layout)
        call(batch=2, groups=3, size=size, memory_format=layout)
    assert max(Counter(kernel.name for kernel in cupy.compiled).values()) <= 8


@pytest.mark.parametrize(
    "other",
    [
        {"dtype": torch.float16},
        {"dtype": torch.bfloat16},
        {"dtype": torch.float64},
        {"window": Window(5, 1, 2, 1)},
        {"window": Window(7, 2, 3, 1)},
        {"window": Window(7, 1, 6, 2)},
        {"group_width": 8},
        {"memory_format": CHANNELS_LAST},
    ],
    ids=str,
)
def test_what_needs_another_compilation(cupy, other):
    call()
    assert len(cupy.compiled) == 3
    call(**other)
    assert len(cupy.compiled) == 6
    assert len({kernel.options for kernel in cupy.compiled}) >= 2


def test_threads_at_once_compile_once(cupy, monkeypatch):
    compile, entered = cupy.RawModule, threading.Barrier(2)

    def RawModule(**arguments):
        with contextlib.suppress(threading.BrokenBarrierError):
            entered.wait(timeout=0.05)  # for a second thread, which must not come
        return compile(**arguments)

    monkeypatch.setattr(cupy, "RawModule", RawModule)
    found, kernel = [], planned().kernel
    threads = [
        threading.Thread(target=lambda: found.append(modules.function(kernel))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(cupy.compiled) == 1
    assert all(one is cupy.compiled[0] for one in found)


def test_a_kernel_is_not_loaded_during_a_capture(cupy, torch_state):
    torch_state.is_capturing = True
    with pytest.raises(RuntimeError, match=r"run the network once before capturing") as caught:
        call()
    assert "\n" not in str(caught.value)
    assert cupy.compiled == []
    torch_state.is_capturing = False
    call()
    torch_state.is_capturing = True
    call(batch=5)
    assert len(cupy.launches) == 6


def test_a_source_that_does_not_compile(cupy):
    cupy.compile_error = cupy.cuda.compiler.CompileException(
        "\n".join(f"line {number}" for number in range(1, 99))
    )
    with pytest.raises(RuntimeError) as caught:
        call()
    message = str(caught.value)
    assert "involution2d does not compile with --std=c++17 -D" in message
    assert "please report this" in message and "CuPy 14.2.0" in message
    assert message.endswith("line 9\nline 10")
    cupy.compile_error = None
    call()
    assert len(cupy.launches) == 3


def test_a_read_only_cache(cupy):
    cupy.compile_error = PermissionError(13, "Permission denied", "/any/.cupy")
    with pytest.raises(RuntimeError, match=r"set CUPY_CACHE_DIR .*Permission denied: '/any/.cupy"):
        call()


def test_a_launch_that_fails(cupy):
    cupy.launch_error = cupy.cuda.driver.CUDADriverError(
        "CUDA_ERROR_INVALID_VALUE: invalid argument"
    )
    with pytest.raises(
        RuntimeError, match=r"involution2d cannot be launched on grid .* -D.*: CUDA_ERROR_INVALID"
    ):
        call()


def without_a_driver():
    """CuPy, if it is installed and has no GPU to launch on."""
    real = pytest.importorskip("cupy", reason="CuPy is not installed")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU, and test_gpu.py launches on it")
    return real


def test_cupy_accepts_our_streams():
    pytest.importorskip("cupy", reason="CuPy is not installed")
    modules.stream.cache_clear()
    for handle in (0, 1, 2, 1 << 40):
        assert modules.stream(handle).ptr == handle
    assert modules.stream(77) is modules.stream(77)
    modules.stream.cache_clear()


def test_cupy_takes_the_argument_by_value(torch_state, monkeypatch):
    """It converts the arguments before it finds that there is no driver."""
    real = without_a_driver()
    function = real.cuda.function.Function.__new__(real.cuda.function.Function)
    monkeypatch.setattr(modules, "function", lambda kernel: function)
    with pytest.raises(RuntimeError, match="driver") as caught:
        call()
    assert isinstance(caught.value.__cause__, real.cuda.runtime.CUDARuntimeError)


def emulated_cases():
    """Every layout with every dtype, and the windows in turn; everything nightly."""
    windows = [((7, 1, 3, 1), (9, 11), 16), ((7, 2, 3, 1), (15, 14), 8), ((3, 1, 2, 2), (8, 5), 3)]
    dtypes = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
    layouts = ["contiguous", "channels_last", "inside", "transposed"]
    for (w, window), (d, dtype), (number, layout) in product(
        *map(enumerate, (windows, dtypes, layouts))
    ):
        marks = () if (w + d + number) % 3 == 0 else pytest.mark.nightly
        yield pytest.param(*window, dtype, layout, marks=marks)


@pytest.mark.parametrize("window, size, group_width, dtype, layout", list(emulated_cases()))
def test_from_the_operator_to_the_kernel(
    on_host, make_case, view, assert_accurate, window, size, group_width, dtype, layout
):
    """The launches that Python plans give the right values when the kernels are emulated."""
    case = make_case(size, 2, window, group_width=group_width, dtype=dtype)
    assert_accurate(*(view(tensor, layout) for tensor in case), 2, window)
    assert [launch.kernel.operator for launch in on_host] == [
        "involution2d",
        "involution2d_grad_input",
        "involution2d_grad_weight",
    ]


def test_derivatives_from_the_operator_to_the_kernel(on_host, make_case, view):
    window = (3, 2, 1, 1)
    case = make_case((5, 4), 2, window, 1, group_width=2)[:2]
    leaves = [view(tensor, "channels_last").requires_grad_() for tensor in case]
    assert gradcheck(lambda a, b: involution2d(a, b, *window), leaves)
    assert gradgradcheck(lambda a, b: involution2d(a, b, *window), leaves, fast_mode=True)
