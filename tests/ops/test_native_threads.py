"""The native backend: its place among the backends, unusual tensors, threads and forks."""

import json
import re
import shutil
import sys

import pytest
import torch

from rednet.ops import Window, compiler, native, reference, registered_backends

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, compiler.COMPILERS)), reason="there is no C++ compiler"
)
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")

CPU = torch.device("cpu")
CASE = """
import os, sys, warnings
import torch
warnings.simplefilter("error", RuntimeWarning)
from pathlib import Path
from torch.utils.data import DataLoader
from rednet import ops

generator = torch.Generator().manual_seed(0)
x = torch.randn(4, 64, 56, 56, generator=generator).to(memory_format=torch.channels_last)
w = torch.randn(4, 4 * 9, 56, 56, generator=generator)

def run():
    with ops.backend("native"):
        return (
            ops.involution2d(x, w, 3, 1, 1),
            ops.involution2d_grad_input(x, w, (56, 56), 3, 1, 1),
            ops.involution2d_grad_weight(x, x, 4, 3, 1, 1),
        )

def equal(results, others):
    return all(one.equal(other) for one, other in zip(results, others))
"""


def test_native_comes_before_the_reference():
    assert [each.name for each in registered_backends()][-2:] == ["native", "reference"]


@pytest.mark.parametrize(
    ("device", "dtype", "reason"),
    [
        ("cuda", torch.float32, "it runs on the CPU, not on cuda"),
        ("meta", torch.float32, "it runs on the CPU, not on meta"),
        ("cpu", torch.float16, "it computes in float32, bfloat16 and float64, not in .*float16"),
    ],
)
def test_unsupported_devices_and_dtypes(device, dtype, reason):
    assert re.fullmatch(reason, native.unavailable_reason(torch.device(device), dtype))


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_supported_dtypes(dtype):
    assert native.unavailable_reason(CPU, dtype) is None


@needs_compiler
def test_a_negated_view_is_read_with_its_sign():
    window = Window(3, padding=1)
    values = torch.randn(2, 2, 3, 3, dtype=torch.complex64).conj().imag
    assert values.is_neg()
    weight = torch.randn(2, 9, 3, 3)
    expected = reference.involution2d(values, weight, window)
    torch.testing.assert_close(native.involution2d(values, weight, window), expected)


@needs_compiler
@pytest.mark.parametrize("shape", [(0, 2, 3, 3), (2, 0, 3, 3)])
def test_empty_tensors_give_zeros(shape):
    window, grad, weight = Window(3, padding=1), torch.ones(shape), torch.ones(shape[0], 9, 3, 3)
    assert native.involution2d(grad, weight, window).shape == shape
    assert native.involution2d_grad_input(grad, weight, (3, 3), window).shape == shape
    assert native.involution2d_grad_weight(grad, grad, 1, window).equal(torch.zeros_like(weight))


@needs_compiler
def test_an_error_of_a_kernel_is_raised(monkeypatch):
    monkeypatch.setitem(native.DTYPE_CODES, torch.float16, 99)
    image, weight = torch.ones(1, 1, 1, 1).half(), torch.ones(1, 1, 1, 1).half()
    with pytest.raises(RuntimeError, match="involution2d failed with status 2"):
        native.involution2d(image, weight, Window(1))


def test_the_source_is_part_of_the_package():
    assert native.SOURCE.is_file()
    assert native.SOURCE.parts[-4:] == ("rednet", "kernels", "cpu", "involution.cpp")


# One program computes for all of these tests.
THREADS = """
import json
from concurrent.futures import ThreadPoolExecutor

torch.set_num_threads(1)
with ThreadPoolExecutor(4) as pool:  # None of them finds the kernels loaded.
    results = [future.result() for future in [pool.submit(run) for _ in range(4)]]
found = {"at once": [equal(results[0], other) for other in results]}

def started(threads):
    torch.set_num_threads(threads)
    before = set(os.listdir("/proc/self/task"))
    run()
    return len(set(os.listdir("/proc/self/task")) - before)

if sys.platform == "linux":
    found["started"] = [started(threads) for threads in (1, 2, 2, 3, 1)]
    lines = Path("/proc/self/maps").read_text().splitlines()
    files = {line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) == 6}
    names = [Path(file).name for file in files]
    found["runtimes"] = sum(name.startswith(("libgomp", "libomp", "libiomp")) for name in names)

def with_threads(number):
    torch.set_num_threads(number)
    return run()

found["numbers"] = [equal(results[0], with_threads(number)) for number in (1, 2, 3)]

def run_on(size, groups, width, batch, kernel_size, stride, dtype):
    sides = kernel_size, stride, kernel_size // 2
    outputs = [(side - 1) // stride + 1 for side in size]
    channels, taps = groups * width, groups * kernel_size**2
    shapes = (channels, *size), (taps, *outputs), (channels, *outputs)
    x, w, g = (torch.randn(batch, *shape, generator=generator).to(dtype) for shape in shapes)
    return (
        ops.involution2d(x, w, *sides),
        ops.involution2d_grad_input(g, w, size, *sides),
        ops.involution2d_grad_weight(g, x, groups, *sides),
    )

ops.backend("native")
found["divisions"] = []
for case in (
    ((150, 61), 1, 16, 1, 7, 1, torch.float32),
    ((97, 40), 2, 17, 1, 7, 2, torch.bfloat16),
    ((5, 33), 70, 4, 1, 3, 1, torch.float32),
    ((64, 9), 3, 8, 2, 5, 2, torch.float64),
    ((1, 1), 1, 3, 1, 3, 2, torch.bfloat16),
):
    results = []
    for threads in (1, 2, 3, 5, 2):
        torch.set_num_threads(threads)
        generator = torch.Generator().manual_seed(0)
        results.append(run_on(*case))
    found["divisions"].append([equal(results[0], other) for other in results[1:]])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(fresh_python):
    """What a program found out about threads."""
    return json.loads(fresh_python(CASE + THREADS))


@needs_compiler
@needs_proc
def test_one_openmp_runtime(found):
    assert found["runtimes"] == 1


@needs_compiler
@needs_proc
def test_it_uses_the_threads_of_torch(found):
    assert found["started"] == [0, 1, 0, 1, 0]


@needs_compiler
def test_the_number_of_threads_does_not_change_a_bit(found):
    assert found["numbers"] == [True] * 3


@needs_compiler
def test_the_division_among_threads_does_not_change_a_bit(found):
    """Bands of rows of one large image, chunks of many groups, and less work than threads."""
    assert found["divisions"] == [[True] * 4] * 5


@needs_compiler
def test_threads_of_python_that_start_at_once(found):
    assert found["at once"] == [True] * 4


@needs_compiler
@pytest.mark.parametrize("before", ["expected = sums()", "expected = None"])
def test_a_forked_worker_of_a_loader(before, fresh_python):
    code = """
torch.set_num_threads(2)

class Involutions(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return torch.get_num_threads(), sums()

def sums():
    return torch.stack([tensor.double().sum() for tensor in run()])

BEFORE
loader = DataLoader(Involutions(), None, num_workers=2, multiprocessing_context="fork")
for threads, results in loader:
    print(threads, results.equal(sums() if expected is None else expected))
"""
    printed = fresh_python(CASE + code.replace("BEFORE", before))
    assert printed.splitlines() == ["1 True"] * 2


@needs_compiler
def test_a_fork_while_another_thread_builds(fresh_python):
    code = """
from rednet.ops import native
with native._lock:
    child = os.fork()
    if child == 0:
        print(native.unavailable_reason(torch.device("cpu"), torch.float32), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""
    assert fresh_python(CASE + code) == "None\n"
