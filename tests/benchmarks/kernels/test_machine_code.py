"""Resources and opcodes: of a listing by hand, and of small kernels that NVRTC compiles."""

import pytest

from benchmarks.kernels import toolchain
from benchmarks.kernels.machine_code import count_issued, count_opcodes, read_resources

LISTING = """
\t.section\t.text.kernel,"ax",@progbits
\t.sectioninfo\t@"SHI_REGISTERS=32"
kernel:
.text.kernel:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
        /*0010*/              @!P0 LDG.E.128.CONSTANT R8, desc[UR6][R8.64+0x10] ;
        /*0020*/                   LDG.E R3, [R4.64] ;
        /*0030*/             @!UP1 UMOV UR4, 0x1 ;
        /*0040*/               @PT EXIT ;
.L_x_9:
        /*0050*/                   BRA `(.L_x_9);
        /*0060*/                   NOP;
        /*1070*/                   NOP;
"""


def test_opcodes_of_a_listing():
    expected = {"MOV": 1, "LDG": 2, "UMOV": 1, "EXIT": 1, "BRA": 1}
    assert count_opcodes(LISTING) == expected


LOOP = """
.L_x_1:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_2:
        /*0010*/                   FFMA R1, R1, R1, R1 ;
        /*0020*/               @P1 BRA `(.L_x_3) ;
        /*0030*/                   FFMA R2, R1, R1, R1 ;
.L_x_3:
        /*0040*/               @P0 BRA `(.L_x_2) ;
        /*0050*/                   EXIT ;
.L_x_4:
        /*0060*/                   BRA `(.L_x_4);
        /*0070*/                   NOP;
"""


def test_a_loop_counts_as_often_as_it_runs():
    counts, loops = count_issued(LOOP, 3.5)
    assert loops == 1
    assert counts == {"MOV": 1, "FFMA": 7, "BRA": 8, "EXIT": 1}
    assert count_issued(LISTING, 5) == (count_opcodes(LISTING), 0)


KERNEL = """
extern "C" __global__ void __launch_bounds__(96) summed(const float* from, float* to, int n) {
  __shared__ float tile[672];
  for (int item = threadIdx.x; item < 672; item += 96) tile[item] = from[item * n];
  __syncthreads();
  float sum = 0;
  #pragma unroll
  for (int row = 0; row < 7; ++row)
    #pragma unroll
    for (int column = 0; column < 7; ++column)
      sum = fmaf(tile[threadIdx.x + 90 * row + column], from[row * n + column], sum);
  to[threadIdx.x] = sum;
}
"""


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("arch", toolchain.ARCHITECTURES)
def test_a_compiled_kernel(arch):
    cubin = toolchain.compile_text(KERNEL, "summed", ["--std=c++17"], arch)
    resources, opcodes = read_resources(cubin), count_opcodes(toolchain.disassemble(cubin))
    assert resources.shared_bytes == 2688
    assert (resources.local_bytes, resources.stack_bytes) == (0, 0)
    assert (opcodes["FFMA"], opcodes["STG"], opcodes["BAR"]) == (49, 1, 1)
    assert opcodes["LDS"] == 49


@pytest.mark.usefixtures("compiler")
def test_spills_and_double_precision():
    text = """
    extern "C" __global__ void __launch_bounds__(1024, 2) spilling(const double* from, double* to) {
      double values[64];
      for (int i = 0; i < 64; ++i) values[i] = from[64 * threadIdx.x + i];
      __syncthreads();
      for (int i = 0; i < 64; ++i) to[64 * threadIdx.x + i] = fma(values[i], values[63 - i], i);
    }"""
    cubin = toolchain.compile_text(text, "spilling", [], 80)
    opcodes = count_opcodes(toolchain.disassemble(cubin))
    assert opcodes["LDL"] > 0 and opcodes["STL"] > 0
    assert opcodes["DFMA"] == 64
    resources = read_resources(cubin)
    assert resources.stack_bytes + resources.local_bytes > 0


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("arch", [80, 90])
def test_a_kernel_without_shared_memory(arch):
    text = 'extern "C" __global__ void f(float* to) { to[threadIdx.x] = 1; }'
    assert read_resources(toolchain.compile_text(text, "f", [], arch)).shared_bytes == 0


@pytest.mark.usefixtures("compiler")
def test_a_mistake_shows_the_compilers_log():
    with pytest.raises(toolchain.CompileError, match=r"sm_80[^$]*nonsense"):
        toolchain.compile_text('extern "C" __global__ void f() { nonsense; }', "f", [], 80)
