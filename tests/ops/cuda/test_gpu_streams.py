"""The CUDA kernels on a GPU: torch's streams, devices, threads, graphs and memory."""

import random
import threading

import pytest
import torch

from rednet import Involution2d, involution2d
from rednet.ops.cuda import modules

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu")]
WINDOW = (7, 1, 3, 1)
GROUPS = 2


@pytest.fixture
def make(gpu, make_case):
    """Return a function that makes input, weight and gradient in channels_last on a GPU."""

    def make(size=(28, 28), window=WINDOW, batch=4, device=gpu, dtype=torch.float32):
        case = make_case(size, GROUPS, window, batch, group_width=16, dtype=dtype)
        return [tensor.to(device, memory_format=torch.channels_last) for tensor in case]

    return make


@pytest.fixture
def compute(operators):
    """Return a function that calls the three operators."""
    return lambda case, window=WINDOW: operators(*case, GROUPS, window)


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def keep_busy(gpu, seconds=0.2):
    """Keep the current stream busy for at least half as long: clocks are up to 2 GHz."""
    torch.cuda._sleep(int(seconds * 1e9))


def new_stream(gpu, compute, case):
    """Return a stream with memory for the results of a case: an allocation could wait."""
    torch.cuda.synchronize(gpu)
    stream = torch.cuda.Stream(gpu)
    with torch.cuda.stream(stream):
        compute(case)
    torch.cuda.synchronize(gpu)
    return stream


def test_it_waits_for_what_is_before_it_in_the_current_stream(gpu, make, compute):
    case = make()
    expected = compute(case)
    late = [torch.full_like(tensor, torch.nan) for tensor in case]
    stream = new_stream(gpu, compute, case)
    with torch.cuda.stream(stream):
        keep_busy(gpu)
        for tensor, values in zip(late, case, strict=True):
            tensor.copy_(values)
        found = compute(late)
        assert not stream.query()
    stream.synchronize()
    assert_same(found, expected)


def test_another_stream_does_not_wait_for_it(gpu, make, compute):
    case = make()
    expected = compute(case)
    busy, free = torch.cuda.Stream(gpu), new_stream(gpu, compute, case)
    with torch.cuda.stream(busy):
        keep_busy(gpu, 0.5)
    with torch.cuda.stream(free):
        found = compute(case)
    free.synchronize()
    assert not busy.query()
    assert_same(found, expected)
    torch.cuda.synchronize(gpu)


@pytest.mark.parametrize("priority", [0, -1])
def test_backward_runs_in_the_stream_of_forward(gpu, make, priority):
    input, weight, grad = make()
    leaves = [input.requires_grad_(), weight.requires_grad_()]
    expected = torch.autograd.grad(involution2d(*leaves, *WINDOW), leaves, grad)
    torch.cuda.synchronize(gpu)
    stream = torch.cuda.Stream(gpu, priority=priority)
    with torch.cuda.stream(stream):
        keep_busy(gpu)
        found = torch.autograd.grad(involution2d(*leaves, *WINDOW), leaves, grad)
    stream.synchronize()
    assert_same(found, expected)


def test_a_second_gpu(make, compute):
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    current = torch.cuda.current_device()
    other = torch.device("cuda", (current + 1) % torch.cuda.device_count())
    found = compute(make(device=other))
    assert all(result.device == other for result in found)
    assert torch.cuda.current_device() == current
    torch.testing.assert_close(
        [result.cpu() for result in found], [t.cpu() for t in compute(make())]
    )


def test_threads(gpu, make, compute):
    """Each thread has a stream and is new to CUDA; half of them load a kernel."""
    windows = [WINDOW, (9, 1, 4, 1)]
    cases = [make(window=window) for window in windows]
    found, failures = {}, []

    def work(index):
        try:
            with torch.cuda.stream(torch.cuda.Stream(gpu)):
                for _ in range(20):
                    found[index] = compute(cases[index % 2], windows[index % 2])
                torch.cuda.current_stream().synchronize()
        except Exception as error:
            failures.append(error)

    torch.cuda.synchronize(gpu)
    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for index in range(8):
        assert_same(found[index], compute(cases[index % 2], windows[index % 2]))


def test_a_graph_replays_with_new_values(gpu, make, compute):
    case = make(dtype=torch.float16)
    side = torch.cuda.Stream(gpu)
    side.wait_stream(torch.cuda.current_stream(gpu))
    with torch.cuda.stream(side):
        compute(case)
    torch.cuda.current_stream(gpu).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = compute(case)
    for _ in range(3):
        for tensor in case:
            tensor.normal_()
        graph.replay()
        assert_same(results, compute(case))


def test_a_layer_and_its_gradients_in_a_graph(gpu):
    torch.manual_seed(0)
    layer = Involution2d(32).to(gpu, memory_format=torch.channels_last)
    sample = torch.randn(4, 32, 28, 28, device=gpu).to(memory_format=torch.channels_last)
    images = torch.randn_like(sample).requires_grad_()
    leaves = [images, *layer.parameters()]
    expected = torch.autograd.grad(layer(images).square().mean(), leaves)
    graphed = torch.cuda.make_graphed_callables(layer, (sample.requires_grad_(),))
    found = torch.autograd.grad(graphed(images).square().mean(), leaves)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= 0.01 * other.norm() + 1e-6


def test_a_kernel_is_not_loaded_while_a_graph_is_captured(gpu, make, monkeypatch):
    input, weight, _ = make()
    monkeypatch.setattr(modules, "_loaded", {})
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        with pytest.raises(RuntimeError, match="run the network once before capturing"):
            involution2d(input, weight, *WINDOW)
        doubled = input * 2
    graph.replay()
    assert torch.equal(doubled, input * 2)


@pytest.mark.filterwarnings("ignore")
def test_compiled_into_graphs(gpu, make):
    """torch.compile(mode="reduce-overhead") captures the operators, forward and backward."""

    def function(input, weight):
        return involution2d(input * 2, weight + 1, *WINDOW).square()

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(function, fullgraph=True, mode="reduce-overhead")
    for _ in range(5):
        input, weight, grad = (tensor.normal_() for tensor in make())
        leaves = [input.requires_grad_(), weight.requires_grad_()]
        torch.compiler.cudagraph_mark_step_begin()
        output = compiled(*leaves)
        found = [output.detach().clone()]
        found += [one.clone() for one in torch.autograd.grad(output, leaves, grad)]
        plain = function(*leaves)
        expected = [plain.detach(), *torch.autograd.grad(plain, leaves, grad)]
        torch.testing.assert_close(found, expected)
    assert torch._dynamo.utils.counters["inductor"]["cudagraph_skips"] == 0
    torch._dynamo.reset()


def test_an_operator_allocates_its_result_only(gpu, make, compute):
    case = make()
    compute(case)
    count = "allocation.all.allocated"
    before = torch.cuda.memory_stats(gpu)[count]
    results = compute(case)
    assert torch.cuda.memory_stats(gpu)[count] - before == len(results)


def test_nothing_waits_for_the_gpu(gpu, make, compute):
    """The launches of a long queue return before its first kernel has finished."""
    case = make()
    compute(case)
    torch.cuda.synchronize(gpu)
    keep_busy(gpu, 0.5)
    for _ in range(20):
        compute(case)
    assert not torch.cuda.current_stream(gpu).query()
    torch.cuda.synchronize(gpu)


def test_a_long_soak(gpu, make, assert_accurate):
    """Random shapes, dtypes and streams; no memory leaks, and CuPy's pool is not used."""
    import cupy

    draw = random.Random(0)
    streams = [torch.cuda.current_stream(gpu), *(torch.cuda.Stream(gpu) for _ in range(3))]
    windows = [WINDOW, (7, 2, 3, 1), (3, 1, 1, 1), (5, 1, 4, 2)]
    left = []
    for turn in range(2000):
        window = draw.choice(windows)
        size = draw.randint(9, 64), draw.randint(9, 64)
        dtype = draw.choice([torch.float32, torch.float16, torch.bfloat16])
        with torch.cuda.stream(draw.choice(streams)):
            case = make(size, window, draw.randint(1, 8), dtype=dtype)
            assert_accurate(*case, GROUPS, window)
            torch.cuda.current_stream().synchronize()
        del case
        if turn in (999, 1999):
            torch.cuda.synchronize(gpu)
            torch.cuda.empty_cache()
            left.append((torch.cuda.memory_allocated(gpu), torch.cuda.mem_get_info(gpu)[0]))
    (allocated, free), (allocated_later, free_later) = left
    assert allocated_later == allocated
    assert free_later >= free - 64 * 2**20
    assert cupy.get_default_memory_pool().total_bytes() == 0
