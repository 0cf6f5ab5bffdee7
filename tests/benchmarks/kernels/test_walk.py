"""Which way threads take: the integer instructions, and the loops of compiled kernels."""

import pytest

from benchmarks.kernels import toolchain
from benchmarks.kernels.assembly import Instruction
from benchmarks.kernels.figures import read_figures
from benchmarks.kernels.thread import Thread
from benchmarks.kernels.walk import walk


def run(text, index=0, **values):
    """What the thread knows after one instruction."""
    guard, _, rest = text.partition(" ") if text.startswith("@") else ("", "", text)
    name, _, operands = rest.partition(" ")
    thread = Thread(index, dict(values))
    parts = tuple(part.strip() for part in operands.split(","))
    thread.run(Instruction(guard, name, parts))
    return thread.values


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("S2R R0, SR_TID.X", "R0", 37),
        ("MOV R0, 0x18", "R0", 24),
        ("UMOV UR4, URZ", "UR4", 0),
        ("R2UR UR4, R1", "UR4", 5),
        ("CS2R R6, SRZ", "R7", 0),
        ("IADD3 R0, R1, 0x7, RZ", "R0", 12),
        ("IADD3 R0, PT, PT, R1.reuse, -0x1, -R2", "R0", (5 - 1 - 7) % 2**32),
        ("IADD3 R0, P0, R1, R2, RZ", "R0", 12),
        ("VIADD R0, R1, 0xffffffff", "R0", 4),
        ("IMAD R0, R1, R2, 0x3", "R0", 38),
        ("IMAD.MOV.U32 R0, RZ, RZ, R2", "R0", 7),
        ("IMAD.SHL.U32 R0, R1, 0x8, RZ", "R0", 40),
        ("IMAD.HI.U32 R0, R9, R9, RZ", "R0", 2**32 - 2),
        ("IMAD.WIDE.U32 R4, R9, R9, RZ", "R5", 2**32 - 2),
        ("IMAD.WIDE R4, R9, R1, RZ", "R4", 2**32 - 5),
        ("IMAD.WIDE R4, R9, R1, RZ", "R5", 2**32 - 1),
        ("LOP3.LUT R0, R1, 0x4, RZ, 0xc0, !PT", "R0", 4),
        ("LOP3.LUT R0, R1, R2, RZ, 0x3c, !PT", "R0", 2),
        ("LOP3.LUT P0, R0, R1, 0x8, RZ, 0xc0, !PT", "P0", 0),
        ("ULOP3.LUT UR4, UR5, 0x3, URZ, 0xc0, !UPT", "UR4", 1),
        ("SHF.L.U32 R0, R1, 0x4, RZ", "R0", 80),
        ("SHF.R.U32.HI R0, RZ, 0x1, R9", "R0", 2**31 - 1),
        ("SHF.R.S32.HI R0, RZ, 0x1f, R9", "R0", 2**32 - 1),
        ("LEA R0, R1, R2, 0x3", "R0", 47),
        ("LEA.HI R0, R9, 0x1, RZ, 0x19", "R0", 2**25),
        ("LEA.HI.SX32 R0, R9, R1, 0x19", "R0", 4),
        ("IMNMX R0, R9, R1, PT", "R0", 2**32 - 1),
        ("IMNMX.U32 R0, R9, R1, PT", "R0", 5),
        ("VIMNMX R0, R9, R1, !PT", "R0", 5),
        ("SEL R0, R1, R2, P3", "R0", 5),
        ("SEL R0, R1, R2, !P3", "R0", 7),
        ("IABS R0, R9", "R0", 1),
        ("ISETP.LT.AND P0, P1, R9, R1, PT", "P0", 1),
        ("ISETP.LT.U32.AND P0, P1, R9, R1, PT", "P1", 1),
        ("ISETP.GE.U32.OR P0, PT, R8, c[0x0][0x160], P3", "P0", 1),
        ("ISETP.GE.U32.AND P0, PT, R8, c[0x0][0x160], !P3", "P0", 0),
        ("UISETP.NE.AND UP0, UPT, UR5, 0x37, UPT", "UP0", 1),
        ("PLOP3.LUT P0, PT, PT, PT, PT, 0x80, 0x0", "P0", 1),
        ("PLOP3.LUT P0, P1, PT, P3, !PT, 0x8, 0x40", "P1", 1),
        ("HFMA2.MMA R0, -RZ, RZ, 0, 3.5762786865234375e-07", "R0", 6),
        ("HFMA2 R0, -RZ, RZ, 1.875, 0", "R0", 0x3F800000),
    ],
)
def test_what_an_instruction_makes(text, name, expected):
    known = {"R1": 5, "R2": 7, "R9": 2**32 - 1, "UR5": 5, "P3": 1}
    assert run(text, 37, **known)[name] == expected


@pytest.mark.parametrize(
    "text",
    [
        "LDG.E.128 R0, [R4.64]",
        "IADD3 R0, R1, R50, RZ",
        "IADD3.X R0, R1, R1, RZ, P0, !PT",
        "IMAD R0, R1, c[0x0][0x160], RZ",
        "@P0 MOV R0, 0x1",
        "@!P3 LDG.E R0, [R4.64]",
        "S2R R0, SR_CTAID.X",
        "SHF.L.U64.HI R0, R1, 0x2, R1",
        "HFMA2 R0, R1, R1, 0, 0",
        "DFMA R0, R2, R2, R2",
        "LDC.64 R0, c[0x0][0x388]",
    ],
)
def test_what_is_not_known_is_forgotten(text):
    assert "R0" not in run(text, R0=1, R1=5, P3=1)


def test_wide_results_are_forgotten_whole():
    known = {f"R{index}": 1 for index in range(10)}
    assert sorted(run("LDS.128 R4, [R8]", **known)) == ["R0", "R1", "R2", "R3", "R8", "R9"]
    assert "P3" not in run("R2P PR, R0, 0x7f", P3=1)


def test_a_guard_that_does_not_hold():
    assert run("@!P0 MOV R0, 0x5", P0=1, R0=2)["R0"] == 2


COUNTED = """
    {start}
    .L_x_0:
    FFMA R4, R4, R4, R4
    IADD3 R0, R0, {step}, RZ
    ISETP.LT.AND P0, PT, R0, {bound}, PT
    @P0 BRA `(.L_x_0)
    EXIT
"""


@pytest.mark.parametrize(
    ("start", "step", "bound", "rounds"),
    [
        ("MOV R0, RZ", "0x1", "0x7", 7),
        ("MOV R0, RZ", "0x2", "0x7", 4),
        ("MOV R0, 0x9", "0x1", "0x7", 1),
        ("S2R R0, SR_TID.X", "0x40", "0x80", 2),
        ("S2R R0, SR_TID.X", "0x40", "0x90", 2.5),
        ("LDG.E R0, [R2.64]", "0x1", "0x7", None),
        ("MOV R0, RZ", "0x1", "c[0x0][0x160]", None),
    ],
)
def test_rounds_of_a_loop(start, step, bound, rounds, code_of):
    code = code_of(COUNTED.format(start=start, step=step, bound=bound))
    expected = None if rounds is None else [1, rounds, 1]
    assert walk(code, threads=64) == expected


def test_both_ways_count_where_memory_decides(code_of):
    code = code_of("""
        MOV R0, 0x4
        ISETP.NE.AND P0, PT, R9, c[0x0][0x160], PT
        @P0 BRA `(.L_x_1)
        MOV R0, 0x6
        .L_x_1:
        FADD R1, R1, R1
        .L_x_2:
        IADD3 R0, R0, -0x1, RZ
        ISETP.NE.AND P1, PT, R0, RZ, PT
        @P1 BRA `(.L_x_2)
        EXIT
    """)
    assert walk(code, threads=32) is None, "whether 4 or 6 rounds is not in the code"


def test_a_way_that_is_known_counts_alone(code_of):
    code = code_of("""
        S2R R0, SR_TID.X
        ISETP.GE.AND P0, PT, R0, 0x20, PT
        @P0 BRA `(.L_x_1)
        FADD R1, R1, R1
        .L_x_1:
        EXIT
    """)
    assert walk(code, threads=128) == [1, 0.25, 1]


def test_a_jump_out_that_memory_decides_is_not_taken(code_of):
    code = code_of("""
        MOV R0, RZ
        .L_x_0:
        ISETP.GE.AND P2, PT, R9, c[0x0][0x160], PT
        @P2 BRA `(.L_x_1)
        IADD3 R0, R0, 0x1, RZ
        ISETP.NE.AND P1, PT, R0, 0x5, PT
        @P1 BRA `(.L_x_0)
        .L_x_1:
        EXIT
    """)
    assert walk(code, threads=32) == [1, 5, 5, 1]


KERNEL = """
extern "C" __global__ void __launch_bounds__(96) walked(const float* from, float* to, int n) {
  __shared__ float tile[672];
  for (int item = threadIdx.x; item < 672; item += 96) tile[item] = from[item * n];
  __syncthreads();
  float sum = 0;
  #pragma unroll 1
  for (int row = 0; row < 7; ++row)
    #pragma unroll
    for (int column = 0; column < 7; ++column)
      sum = fmaf(tile[threadIdx.x + 90 * row + column], from[row * n + column], sum);
  to[threadIdx.x] = sum;
}
"""


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("arch", toolchain.ARCHITECTURES)
def test_counts_of_a_compiled_kernel(arch):
    """The compiler unrolls the first loop, 7 rounds for each of 96 threads, its own way."""
    cubin = toolchain.compile_text(KERNEL, "walked", ["--std=c++17"], arch)
    figures = read_figures(cubin, 96)
    assert figures.basis == "walked"
    assert figures.weighed["multiply_adds"] == 49
    assert figures.weighed["shared_loads"] >= 49
    assert figures.weighed["shared_stores"] == 7
    assert figures.weighed["global_loads"] == 56
    assert figures.shared_bytes == 2688
    assert (figures.local_bytes, figures.stack_bytes, figures.weighed["barriers"]) == (0, 0, 1)
    assert figures.per_multiply_add("instructions") > 2


@pytest.mark.usefixtures("compiler")
def test_spills_and_double_precision_are_seen():
    text = """
    extern "C" __global__ void __launch_bounds__(1024, 2) spilling(const double* from, double* to) {
      double values[64];
      for (int i = 0; i < 64; ++i) values[i] = from[64 * threadIdx.x + i];
      __syncthreads();
      for (int i = 0; i < 64; ++i) to[64 * threadIdx.x + i] = fma(values[i], values[63 - i], i);
    }"""
    figures = read_figures(toolchain.compile_text(text, "spilling", [], 80), 1024)
    assert figures.counts["local_loads"] > 0 and figures.counts["local_stores"] > 0
    assert figures.stack_bytes + figures.local_bytes > 0
    assert figures.counts["multiply_adds"] == 64


@pytest.mark.usefixtures("compiler")
def test_a_loop_that_arguments_end_is_told():
    text = """
    extern "C" __global__ void open(const float* from, float* to, int n) {
      float sum = 0;
      #pragma unroll 1
      for (int i = 0; i < n; ++i) sum = fmaf(from[i], from[i + n], sum);
      to[threadIdx.x] = sum;
    }"""
    figures = read_figures(toolchain.compile_text(text, "open", [], 80), 128)
    assert (figures.basis, figures.weighed) == ("hot loop", None)
    assert figures.per_multiply_add("global_loads") == 2


@pytest.mark.usefixtures("compiler")
def test_a_mistake_shows_the_compilers_log():
    with pytest.raises(toolchain.CompileError, match=r"sm_80[^$]*nonsense"):
        toolchain.compile_text('extern "C" __global__ void f() { nonsense; }', "f", [], 80)


@pytest.mark.usefixtures("compiler")
def test_a_kernel_without_shared_memory():
    text = 'extern "C" __global__ void f(float* to) { to[threadIdx.x] = 1; }'
    for arch in (80, 90):
        figures = read_figures(toolchain.compile_text(text, "f", [], arch), 32)
        assert (figures.shared_bytes, figures.basis) == (0, "straight")
        assert figures.per_multiply_add("instructions") is None
