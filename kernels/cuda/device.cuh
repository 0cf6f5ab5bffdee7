// Inline assembly: 16-bit floats, asynchronous copies and products of matrices.
//
// The tests compile the other files for the CPU, with another header in place of this one.

#pragma once

struct Half {
  unsigned short bits;
};

struct BFloat16 {
  unsigned short bits;
};

__device__ __forceinline__ double to_real(double value) { return value; }
__device__ __forceinline__ float to_real(float value) { return value; }
__device__ __forceinline__ float to_real(BFloat16 value) {
  float real;
  asm("mov.b32 %0, {%1, %2};" : "=f"(real) : "h"(static_cast<unsigned short>(0)), "h"(value.bits));
  return real;
}
__device__ __forceinline__ float to_real(Half value) {
  float real;
  asm("cvt.f32.f16 %0, %1;" : "=f"(real) : "h"(value.bits));
  return real;
}

// a * b + c, rounded once. Keeps subnormal numbers, which CuPy lets the compiler flush to zero.
__device__ __forceinline__ double multiply_add(double a, double b, double c) {
  return fma(a, b, c);
}
__device__ __forceinline__ float multiply_add(float a, float b, float c) {
  float sum;
  asm("fma.rn.f32 %0, %1, %2, %3;" : "=f"(sum) : "f"(a), "f"(b), "f"(c));
  return sum;
}

// Rounds to nearest even.
template <class Storage>
__device__ __forceinline__ Storage to_storage(float value) {
  return value;
}
template <class Storage>
__device__ __forceinline__ Storage to_storage(double value) {
  return value;
}
template <>
__device__ __forceinline__ Half to_storage<Half>(float value) {
  Half half;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half.bits) : "f"(value));
  return half;
}
template <>
__device__ __forceinline__ BFloat16 to_storage<BFloat16>(float value) {
#if __CUDA_ARCH__ >= 800
  BFloat16 rounded;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(rounded.bits) : "f"(value));
  return rounded;
#else
  const unsigned bits = __float_as_uint(value);
  const unsigned rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return {static_cast<unsigned short>(value != value ? 0x7fff : rounded)};
#endif
}

#if __CUDA_ARCH__ >= 800
using Shared = unsigned;  // an address in shared memory
__device__ __forceinline__ Shared shared_address(void* data) {
  return static_cast<unsigned>(__cvta_generic_to_shared(data));
}
#else
using Shared = char*;
__device__ __forceinline__ Shared shared_address(void* data) { return static_cast<char*>(data); }
#endif

// Hides how an address is computed: otherwise the compiler computes each of its neighbours anew
// instead of writing their distances into the instructions.
__device__ __forceinline__ Shared as_base(Shared address) {
#if __CUDA_ARCH__ >= 800
  asm("" : "+r"(address));
#endif
  return address;
}

__device__ __forceinline__ void store_shared(Shared address, unsigned word) {
#if __CUDA_ARCH__ >= 800
  asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(word) : "memory");
#else
  *reinterpret_cast<unsigned*>(address) = word;
#endif
}

// Copies 16 bytes to shared memory, or writes zeros if not `inside`. This thread may read them
// after wait_for_copies, other threads after a barrier that follows it.
__device__ __forceinline__ void copy_async(Shared shared, const void* global, bool inside) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "{ .reg .pred outside; setp.eq.b32 outside, %2, 0;"
      "cp.async.cg.shared.global [%0], [%1], 16, outside; }" ::"r"(shared),
      "l"(global), "r"(static_cast<int>(inside)));
#else
  __builtin_assume(__isGlobal(global));
  *reinterpret_cast<uint4*>(shared) = inside ? *static_cast<const uint4*>(global) : uint4{};
#endif
}

// Has the L2 cache fetch the line of an address.
__device__ __forceinline__ void prefetch(const void* global) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(global));
}

// Ends a group of copies.
__device__ __forceinline__ void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits for this thread's copies except those of the latest PENDING groups.
template <int PENDING>
__device__ __forceinline__ void wait_for_copies_but() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}

// Waits for all of this thread's copies.
__device__ __forceinline__ void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

// Two numbers rounded to nearest even, in one word.
template <class Storage>
__device__ __forceinline__ unsigned to_pair(float low, float high) {
  return to_storage<Storage>(low).bits | to_storage<Storage>(high).bits << 16;
}
#if __CUDA_ARCH__ >= 800
template <>
__device__ __forceinline__ unsigned to_pair<Half>(float low, float high) {
  unsigned pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
template <>
__device__ __forceinline__ unsigned to_pair<BFloat16>(float low, float high) {
  unsigned pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
#endif

#if __CUDA_ARCH__ >= 800
constexpr bool HAS_TENSOR_CORES = true;
#else
constexpr bool HAS_TENSOR_CORES = false;
#endif

// Computes `from` plus the product of a 16 x 16 and a 16 x 8 matrix, which all lanes of a warp hold
// together: "Matrix Fragments for mma.m16n8k16" in the PTX manual.
template <class Storage>
__device__ __forceinline__ void multiply_tiles(float (&sums)[4], const unsigned (&left)[4],
                                               const unsigned (&right)[2],
                                               const float (&from)[4]) {}
#if __CUDA_ARCH__ >= 800
#define MULTIPLY_TILES(Storage, type)                                                           \
  template <>                                                                                   \
  __device__ __forceinline__ void multiply_tiles<Storage>(                                      \
      float (&sums)[4], const unsigned (&left)[4], const unsigned (&right)[2],                  \
      const float (&from)[4]) {                                                                 \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 "                 \
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"                   \
        : "=f"(sums[0]), "=f"(sums[1]), "=f"(sums[2]), "=f"(sums[3])                            \
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]), \
          "f"(from[0]), "f"(from[1]), "f"(from[2]), "f"(from[3]));                              \
  }
MULTIPLY_TILES(Half, "f16")
MULTIPLY_TILES(BFloat16, "bf16")
#undef MULTIPLY_TILES
#endif

// Adds such a product.
template <class Storage>
__device__ __forceinline__ void multiply_tiles(float (&sums)[4], const unsigned (&left)[4],
                                               const unsigned (&right)[2]) {
  multiply_tiles<Storage>(sums, left, right, sums);
}

// Loads four 8 x 8 matrices of 16-bit elements from shared memory: lane i has the address of row
// i % 8 of matrix i / 8. A lane gets two neighbours of row lane / 4 of each, or of its transpose.
template <bool IS_TRANSPOSED>
__device__ __forceinline__ void load_matrices(unsigned (&words)[4], const void* row) {
#if __CUDA_ARCH__ >= 800
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (IS_TRANSPOSED)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(address)
                 : "memory");
#endif
}

// Returns a lane's words of the transpose of an 8 x 8 matrix of 16-bit elements. A lane has two
// neighbours of row lane / 4.
__device__ __forceinline__ unsigned transpose_matrix(unsigned word) {
#if __CUDA_ARCH__ >= 800
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %0;" : "+r"(word));
#endif
  return word;
}

// Returns the word of the lane whose number differs in the bits of `lanes`.
__device__ __forceinline__ unsigned exchange(unsigned word, int lanes) {
  return __shfl_xor_sync(0xffffffff, word, lanes);
}

// Returns the word of another lane.
__device__ __forceinline__ unsigned shuffle(unsigned word, int lane) {
  return __shfl_sync(0xffffffff, word, lane);
}

// Returns four of the eight bytes of `high` and `low`, which the digits of `selector` number.
__device__ __forceinline__ unsigned select_bytes(unsigned low, unsigned high, unsigned selector) {
  return __byte_perm(low, high, selector);
}

// Returns a number of which the compiler does not know that it is `value`.
__device__ __forceinline__ int hide(int value) {
  asm volatile("" : "+r"(value));
  return value;
}
