// CUDA's keywords for the host compiler, included before a kernel. runner.cpp runs the threads.

#pragma once

#include "runner.h"

// Blocks run one after the other, so they share one array. It is in a separate section, where the
// runner finds and poisons it and the address sanitizer puts a zone around it.
#define __shared__ static __attribute__((used, section("cuda_shared")))
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)  // emulator.py reads it from the text

#define threadIdx host::thread_index
#define blockIdx host::block_index
#define blockDim host::block_size
#define gridDim host::grid_size
#define __syncthreads() host::wait_at_barrier(__FILE__, __LINE__)

// Aligned as on a GPU, where an access to another address is a fault.
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

inline float fmaf(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }

#define HOST_LEAST_AND_GREATEST(Number)                          \
  inline Number min(Number a, Number b) { return a < b ? a : b; } \
  inline Number max(Number a, Number b) { return a < b ? b : a; }
HOST_LEAST_AND_GREATEST(int)
HOST_LEAST_AND_GREATEST(unsigned)
HOST_LEAST_AND_GREATEST(long long)
HOST_LEAST_AND_GREATEST(unsigned long long)
#undef HOST_LEAST_AND_GREATEST

inline float __uint_as_float(unsigned bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// Set by the linker; null if a kernel has no shared arrays.
extern "C" {
extern char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));
}

namespace host {

// Passes a kernel its argument by value, as a launch does.
template <auto kernel, class Problem>
void call(const void* problem) {
  kernel(*static_cast<const Problem*>(problem));
}

template <auto kernel, class Problem>
Kernel describe(void (*)(Problem), unsigned launch_bounds) {
  return {call<kernel, Problem>, sizeof(Problem), launch_bounds, __start_cuda_shared,
          __stop_cuda_shared};
}

}  // namespace host

// The entry point that emulator.py appends to a kernel.
#define HOST_KERNEL(name, launch_bounds)                                             \
  extern "C" const host::Kernel* host_kernel() {                                     \
    static const host::Kernel kernel = host::describe<&name>(&name, launch_bounds);  \
    return &kernel;                                                                  \
  }
