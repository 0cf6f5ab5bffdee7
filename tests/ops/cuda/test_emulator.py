"""The emulator, on small kernels with known faults."""

import re
import struct
from dataclasses import replace

import pytest
import torch

from rednet.ops.cuda.plan import Kernel, Launch

SEEDS = range(8)
THREADS = 64

START = """
struct Problem { float *from, *to; };
extern "C" __global__ void __launch_bounds__(64) test(const Problem problem) {
  const int thread = threadIdx.x, base = blockIdx.x * blockDim.x;
  const float* const from = problem.from + base;
  float* const to = problem.to + base;
"""
# Reverses each block's part, an odd number of times.
REVERSAL = """
  __shared__ float tile[64];
  float value = from[thread];
  for (int pass = 0; pass < 3; ++pass) {
    tile[thread] = value;
    __syncthreads();  // written
    value = tile[63 - thread];
    __syncthreads();  // read
  }
  to[thread] = value;
"""
# Fetches four values per thread in each of two groups of copies, and reverses the first.
COPIES = """
  __shared__ __align__(16) float tile[2][64];
  const bool copies = thread < 16;
  if (copies) copy_async(shared_address(tile[0] + 4 * thread), from + 4 * thread, true);
  commit_copies();
  if (copies) copy_async(shared_address(tile[1] + 4 * thread), from + 4 * thread, true);
  commit_copies();
  wait_for_copies_but<1>();
  __syncthreads();
  to[thread] = tile[READ][63 - thread];
  __syncthreads();
  wait_for_copies();
"""


def make_launch(from_, to, blocks=4, threads=THREADS, operator="test", **defines):
    """A launch of a kernel with `Problem{from, to}`."""
    kernel = Kernel(operator, tuple(defines.items()), threads, shared_bytes=0)
    grid = blocks if isinstance(blocks, tuple) else (blocks, 1, 1)
    return Launch(kernel, grid, struct.pack("PP", from_.data_ptr(), to.data_ptr()))


@pytest.fixture
def run(emulator):
    """Return a function that runs the lines of a kernel on 0, 1, ... and returns its result."""

    def run(lines, seed=0, blocks=4, threads=THREADS, dtype=torch.float32, **defines):
        from_ = torch.arange(256, dtype=torch.float32)
        to = torch.full([256], torch.nan).view(dtype)
        launch = make_launch(from_, to, blocks, threads, **defines)
        emulator.run(launch, emulator.DEVICE + START + lines + "}\n", seed)
        return to

    return run


def turned():
    return torch.arange(256.0).view(4, 64).flip(1).flatten()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_correct_kernel_is_correct_in_every_order(run, seed):
    assert torch.equal(run(REVERSAL, seed), turned())


@pytest.mark.parametrize("barrier", ["written", "read"])
def test_a_missing_barrier_is_detected(run, barrier):
    broken = REVERSAL.replace(f"__syncthreads();  // {barrier}", "")
    assert not any(torch.equal(run(broken, seed), turned()) for seed in SEEDS)


def test_shared_memory_starts_as_nan_in_every_block(run):
    result = run("__shared__ float tile[64]; to[thread] = tile[thread]; tile[thread] = 1;")
    assert result.isnan().all()


def test_uninitialised_variables_have_unlikely_values(run, emulator):
    if not emulator.flags_if_known(*emulator.UNINITIALIZED):
        pytest.skip("the compiler has no -ftrivial-auto-var-init")
    assert not (run("float value[4]; to[thread] = value[thread % 4];").abs() < 1e30).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_copies_arrive_when_they_are_waited_for(run, seed):
    assert torch.equal(run(COPIES, seed, READ=0), turned())
    assert run(COPIES, seed, READ=1).isnan().all()
    assert torch.equal(run(COPIES.replace("but<1>", "but<0>"), seed, READ=1), turned())


def test_an_uncommitted_group_is_not_waited_for(run):
    lines = COPIES.replace("commit_copies();", "").replace("<1>", "<0>")
    assert run(lines, READ=0).isnan().all()


def test_a_copy_overwrites_its_target_at_once(run):
    lines = """
      __shared__ __align__(16) float tile[64];
      tile[thread] = 1;
      __syncthreads();
      if (thread == 0) copy_async(shared_address(tile + 60), from, true);
      to[thread] = tile[63];
      wait_for_copies();
    """
    assert run(lines).isnan().any()


def test_outside_elements_are_copied_as_zeros(run):
    lines = """
      __shared__ __align__(16) float tile[64];
      const int vector = thread / 4 * 4;
      if (thread == vector)
        copy_async(shared_address(tile + vector), from + vector, vector % 8);
      wait_for_copies();
      __syncthreads();
      to[thread] = tile[thread];
    """
    assert torch.equal(run(lines), torch.arange(256.0) * (torch.arange(256) // 4 % 2))


FAILURES = {
    "if (thread == 63) return; __syncthreads();": r"thread 63 has ended",
    "if (thread == 5) __syncthreads();\n else __syncthreads();": "thread 5 waits at kernel:",
    COPIES.replace("wait_for_copies();", ""): r"thread \d+: ended without waiting",
    COPIES.replace("from + 4", "from + 1 + 4"): r"copy of 16 bytes that is not aligned",
    COPIES.replace("tile[0] + 4", "tile[0] + 1 + 4"): r"copy of 16 bytes that is not aligned",
    COPIES.replace("from + 4", "tile[1] + 4"): "copy from shared memory",
    "alignas(16) float tile[4]; copy_async(shared_address(tile), from, true);": "not shared",
    "if (blockIdx.x == 2) *(volatile int*)(8) = 1;": r"block \(2, 0, 0\), thread \d+: a fault",
}


@pytest.mark.parametrize("lines", FAILURES)
def test_what_a_gpu_rejects_or_leaves_undefined(run, emulator, lines):
    for seed in range(2):
        with pytest.raises(
            emulator.EmulationError, match=r"^test: block \(\d, 0, 0\), "
        ) as failure:
            run(lines, seed, READ=0)
        assert re.search(FAILURES[lines], str(failure.value))
    assert torch.equal(run(REVERSAL), turned())


def test_shared_memory_is_counted_and_limited(run, emulator):
    kernel = Kernel("test", (), THREADS, 0)
    lines = START + "__shared__ __align__(16) char first[64], second[SECOND];}"
    for size in (64, 1024, 48 << 10):
        text = lines.replace("SECOND", str(size))
        assert emulator.shared_bytes(kernel, text) == 64 + size
    assert emulator.shared_bytes(kernel, START + "}") == 0
    with pytest.raises(emulator.EmulationError, match="49216 bytes of shared memory"):
        emulator.run(make_launch(torch.ones(1), torch.ones(1)), text)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"threads": 65}, r"65 threads for __launch_bounds__\(64\)"),
        ({"threads": 0}, "0 threads"),
        ({"blocks": 0}, "no GPU takes 0 blocks in direction x"),
        ({"blocks": (1, 65536, 1)}, "65536 blocks in direction y"),
        ({"blocks": (1, 1, 2**32 + 1)}, "4294967297 blocks in direction z"),
    ],
)
def test_rejected_launches(run, emulator, sizes, message):
    with pytest.raises(emulator.EmulationError, match=message):
        run(REVERSAL, **sizes)


def test_least_threads_of_several_launch_bounds(emulator):
    launch = make_launch(torch.ones(1), torch.ones(1), THREADS=64)
    emulator.run(launch, START.replace("(64)", "(THREADS, 4)") + "}")


def test_an_argument_of_another_size_is_rejected(emulator):
    launch = make_launch(torch.ones(1), torch.ones(1))
    launch = replace(launch, problem=launch.problem + bytes(8))
    with pytest.raises(emulator.EmulationError, match="24 bytes, that of the kernel has 16"):
        emulator.run(launch, START + "}")


def test_more_threads_than_any_gpu_has(emulator):
    launch = make_launch(torch.ones(1), torch.ones(1), threads=1025)
    with pytest.raises(emulator.EmulationError, match="1025 threads"):
        emulator.run(launch, START.replace("(64)", "(2048)") + "}")


def test_indices(run):
    lines = """
      const auto [x, y, z] = blockIdx;
      const int block = (z * gridDim.y + y) * gridDim.x + x;
      const bool flat = blockDim.y * blockDim.z == 1 && threadIdx.y + threadIdx.z == 0;
      if (flat) problem.to[block * blockDim.x + thread] = 1000 * x + 100 * y + 10 * z + thread;
    """
    result = run(lines, blocks=(2, 3, 4), threads=10)
    z, y, x, thread = torch.meshgrid(*map(torch.arange, (4, 3, 2, 10)), indexing="ij")
    assert torch.equal(result[:240], (1000 * x + 100 * y + 10 * z + thread).flatten().float())
    assert result[240:].isnan().all()


# Each thread writes how many threads ran before it.
ORDER = """
  static int turns = 0;
  if (turns == 4 * 128) turns = 0;
  if (ROUND == 0) to[thread] = turns;
  turns++;
  __syncthreads();
  if (ROUND == 1) to[thread] = turns - 64;
  turns++;
"""


def test_orders_of_threads_and_blocks(run):
    def orders(seed, round=0):
        turns = run(ORDER, seed, ROUND=round).int().view(4, 64)
        return (turns // 128)[:, 0].tolist(), turns % 128

    blocks, threads = orders(0)
    assert sorted(blocks) == list(range(4))
    assert (threads.sort(1).values == torch.arange(64)).all()
    assert len({tuple(order.tolist()) for order in [*threads, *orders(0, 1)[1]]}) == 8
    assert torch.equal(threads, orders(0)[1])
    assert not torch.equal(threads, orders(1)[1])
    assert len({tuple(orders(seed)[0]) for seed in SEEDS}) > 1


CONVERSION = """
struct Problem { FROM* from; TO* to; };
extern "C" __global__ void __launch_bounds__(1024) test(const Problem problem) {
  const int index = blockIdx.x * 1024 + threadIdx.x;
  problem.to[index] = CONVERT(problem.from[index]);
}
"""
STORAGES = {torch.float16: "Half", torch.bfloat16: "BFloat16"}


def numbers(dtype):
    """Return every 16-bit number."""
    return torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)


def between(dtype):
    """Return float32 numbers next to those, halfway between them, and random ones."""
    values = numbers(dtype).float()
    values = values[values.isfinite()].sort().values
    middles = torch.cat([(values[1:] / 2 + values[:-1] / 2), torch.tensor([65520.0, -65520.0])])
    around = torch.cat([values, middles])
    infinity = torch.tensor(torch.inf)
    near = [around.nextafter(infinity), around.nextafter(-infinity)]
    bits = torch.randint(-(2**31), 2**31, [2**17], generator=torch.Generator().manual_seed(0))
    return torch.cat([around, *near, infinity[None], -infinity[None], bits.int().view(torch.float)])


def convert(emulator, values, dtype, function):
    to = torch.zeros_like(values, dtype=dtype)
    blocks = values.numel() // 1024
    names = {**STORAGES, torch.float32: "float"}
    types = {"FROM": names[values.dtype], "TO": names[dtype], "CONVERT": function}
    launch = make_launch(values, to, blocks, threads=1024, **types)
    emulator.run(launch, emulator.DEVICE + CONVERSION)
    return to[: blocks * 1024], values[: blocks * 1024].to(dtype)


@pytest.mark.parametrize("dtype", STORAGES)
def test_every_16_bit_number_is_widened_as_by_torch(emulator, dtype):
    found, expected = convert(emulator, numbers(dtype), torch.float32, "to_real")
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(found.signbit(), expected.signbit())


@pytest.mark.parametrize("dtype", STORAGES)
def test_float32_is_rounded_as_by_torch(emulator, dtype):
    values = between(dtype)
    values = torch.cat([values, values[: -values.numel() % 1024]])
    found, expected = convert(emulator, values, dtype, f"to_storage<{STORAGES[dtype]}>")
    nan = expected.isnan()
    assert torch.equal(found.isnan(), nan)
    assert torch.equal(found.view(torch.int16)[~nan], expected.view(torch.int16)[~nan])


# A fault's name, its lines, and the sanitizers' report. The tensors have 62 elements.
FAULTS = {
    "NONE": (REVERSAL.replace("from[", "from[thread > 61 ? 0 : ").replace("to[", "to[4 & "), None),
    "COPY_TO_THE_END": (
        """
        __shared__ __align__(16) float tile[64];
        if (thread < 16) copy_async(shared_address(tile + 4 * thread), from + 4 * thread, true);
        wait_for_copies();
        __syncthreads();
        if (thread < 62) to[thread] = tile[thread];
        if (thread > 61 && tile[thread] == tile[thread]) __builtin_trap();
        """,
        None,
    ),
    "READ_BEHIND": ("if (thread) to[0] = from[thread];", "heap-buffer-overflow.*READ of size 4"),
    "READ_BEFORE": ("to[0] = from[thread - 1];", "heap-buffer-overflow.*READ of size 4"),
    "WRITE_BEHIND": ("if (thread > 60) to[thread] = 1;", "heap-buffer-overflow.*WRITE of size 4"),
    "COPY_BEHIND": (
        """
        __shared__ __align__(16) float tile[64];
        if (thread < 17) copy_async(shared_address(tile), from + 4 * thread, true);
        wait_for_copies();
        """,
        "heap-buffer-overflow.*READ of size 1",
    ),
    "COPY_TOO_WIDE": (
        """
        __shared__ __align__(16) float tile[62];
        if (thread < 16) copy_async(shared_address(tile + 4 * thread), from, true);
        wait_for_copies();
        """,
        "global-buffer-overflow.*WRITE of size 1",
    ),
    "SHARED_BEHIND": (
        """
        __shared__ float first[62], second[62];
        float* const row = first;
        second[thread % 62] = from[0];
        if (thread < 63) row[thread] = 1;
        __syncthreads();
        to[0] = first[0] + second[0];
        """,
        "global-buffer-overflow.*WRITE of size 4",
    ),
    "SHARED_INDEX": ("__shared__ float a[62]; a[thread] = 1; to[0] = a[0];", "62 out of bounds"),
    "LOCAL_BEHIND": (
        """
        float local[4] = {}, *row = local;
        __syncthreads();
        row[thread % 4 + thread / 63] = from[0];
        __syncthreads();
        to[0] = local[0];
        """,
        "stack-buffer-overflow.*WRITE of size 4",
    ),
    "MISALIGNED": (
        "if (thread < 8) to[thread] = reinterpret_cast<const uint4*>(from + thread)->x;",
        "misaligned address .* type 'const struct uint4'",
    ),
    "OVERFLOW": ("to[0] = thread + 2147483600;", "signed integer overflow"),
}
# Every fault runs in a separate process, because the sanitizers end it.
EACH_FAULT = """
import runpy
import torch

tests = runpy.run_path(sys.argv[1])
text = emulator.DEVICE + tests["faulty_kernel"]()
tensors = torch.zeros(62), torch.zeros(62)
launches = {
    fault: tests["make_launch"](*tensors, blocks=1, **{fault: 1}) for fault in tests["FAULTS"]
}
emulator.build([launch.kernel for launch in launches.values()], text)
for fault, launch in launches.items():
    child = os.fork()
    if child == 0:
        print(f"[{fault}]", file=sys.stderr, flush=True)
        emulator.run(launch, text)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(fault, status, flush=True)
"""


def faulty_kernel():
    cases = [f"#ifdef {fault}\n{lines}\n#endif\n" for fault, (lines, _) in FAULTS.items()]
    return START + "".join(cases) + "}\n"


@pytest.fixture(scope="module")
def findings(emulator, sanitizers):
    """Return the exit status and the sanitizers' report of every fault."""
    done = emulator.run_sanitized(EACH_FAULT, __file__)
    reports = re.split(r"^\[(\w+)\]$", done.stderr, flags=re.MULTILINE)[1:]
    assert done.returncode == 0, done.stderr
    statuses = dict(line.split() for line in done.stdout.splitlines())
    texts = dict(zip(reports[::2], reports[1::2], strict=True))
    return {fault: (int(statuses[fault]), texts[fault]) for fault in FAULTS}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_sanitizers_find(findings, fault):
    expected = FAULTS[fault][1]
    status, report = findings[fault]
    if expected is None:
        assert (status, re.findall("ERROR|runtime error", report)) == (0, [])
    else:
        assert status != 0
        assert re.search(expected, report, re.DOTALL), report[:2000]


# Three warps multiply, each its own 16 x 16 and 16 x 8 matrix in the layout of mma.m16n8k16.
PRODUCT = """
struct Problem { unsigned* from; float* to; };
extern "C" __global__ void __launch_bounds__(96) test(const Problem problem) {
  const unsigned* from = problem.from + 6 * threadIdx.x;
  float sums[4] = {};
  for (int round = 0; round < 1 + threadIdx.x / 32; ++round) {
    if (SKIPS && threadIdx.x == 40) continue;
    multiply_tiles<Half>(sums, {from[0], from[1], from[2], from[3]}, {from[4], from[5]});
  }
  __syncthreads();
  for (int i = 0; i < 4; ++i) problem.to[4 * threadIdx.x + i] = sums[i];
}
"""


def products(emulator, threads, skips):
    """Run PRODUCT; return what it wrote, and the product of the first warp's matrices."""
    left, right = torch.arange(256.0).view(16, 16) / 64, torch.arange(128.0).view(16, 8) / 32
    lanes = torch.arange(32)
    row, column, pair = lanes // 4, lanes // 4, lanes % 4 * 2
    operands = [
        *[left[row + i % 2 * 8, pair + i // 2 * 8 + odd] for i in range(4) for odd in range(2)],
        *[right[pair + i * 8 + odd, column] for i in range(2) for odd in range(2)],
    ]
    from_ = torch.stack(operands, 1).half().repeat(3, 1).contiguous()
    to = torch.full([96, 4], torch.nan)
    launch = make_launch(from_, to, blocks=1, threads=threads, SKIPS=skips)
    emulator.run(launch, emulator.DEVICE + PRODUCT)
    places = torch.stack([row, row, row + 8, row + 8], 1), torch.stack([pair, pair + 1] * 2, 1)
    return to.view(3, 32, 4), (left @ right)[places]


def test_products_of_matrices(emulator):
    """Warps multiply different numbers of times and then meet at a barrier."""
    found, expected = products(emulator, threads=96, skips=0)
    for warp in range(3):
        torch.testing.assert_close(found[warp], (warp + 1) * expected)


def test_products_of_incomplete_warps(emulator):
    with pytest.raises(emulator.EmulationError, match=r"not all lanes of a warp reach.*thread 40"):
        products(emulator, threads=96, skips=1)
    with pytest.raises(emulator.EmulationError, match="without whole warps"):
        products(emulator, threads=80, skips=0)
