// Replaces kernels/cuda/device.cuh when kernels are compiled for the CPU.

struct Half {
  unsigned short bits;
};

struct BFloat16 {
  unsigned short bits;
};

inline double to_real(double value) { return value; }
inline float to_real(float value) { return value; }
inline float to_real(BFloat16 value) { return __uint_as_float(unsigned{value.bits} << 16); }
inline float to_real(Half value) {
  const unsigned sign = (value.bits & 0x8000u) << 16, magnitude = value.bits & 0x7fffu;
  // Zero and subnormal numbers are multiples of 2^-24. Otherwise 10 bits of the fraction become 23,
  // and the bias of the exponent 127 instead of 15.
  unsigned bits = (magnitude << 13) + ((127 - 15) << 23);
  if (magnitude < 0x0400) bits = __float_as_uint(static_cast<float>(magnitude) * 0x1p-24f);
  if (magnitude >= 0x7c00) bits = magnitude << 13 | 0x7f800000u;  // infinity, NaN
  return __uint_as_float(sign | bits);
}

inline double multiply_add(double a, double b, double c) { return __builtin_fma(a, b, c); }
inline float multiply_add(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

template <class Storage>
Storage to_storage(float value) {
  return value;
}
template <class Storage>
Storage to_storage(double value) {
  return value;
}

// `bits` without the `dropped` lowest ones, rounded to nearest even.
inline unsigned drop_bits(unsigned bits, int dropped) {
  const unsigned almost_half = (1u << (dropped - 1)) - 1, odd = bits >> dropped & 1;
  return (bits + almost_half + odd) >> dropped;
}

template <>
inline Half to_storage<Half>(float value) {
  const unsigned bits = __float_as_uint(value), magnitude = bits & 0x7fffffffu;
  unsigned half = drop_bits(magnitude, 13) - ((127 - 15) << 10);
  // Below 2^-14 there are the multiples of 2^-24: behind 2^23, a float has no bits for a fraction.
  if (magnitude < 0x38800000u)
    half = __float_as_uint(__uint_as_float(magnitude) * 0x1p24f + 0x1p23f) - 0x4b000000u;
  if (half > 0x7c00 || magnitude >= 0x7f800000u) half = 0x7c00;
  if (value != value) half = 0x7fff;
  return {static_cast<unsigned short>(half | (bits >> 16 & 0x8000u))};
}

template <>
inline BFloat16 to_storage<BFloat16>(float value) {
  const unsigned bits = __float_as_uint(value);
  return {static_cast<unsigned short>(value != value ? 0x7fc0 : drop_bits(bits, 16))};
}

using Shared = char*;
inline Shared shared_address(void* data) { return static_cast<char*>(data); }
inline Shared as_base(Shared address) { return address; }
inline void store_shared(Shared address, unsigned word) {
  *reinterpret_cast<unsigned*>(address) = word;
}

// Copied bytes arrive only when the thread waits for them; until then there is NaN. A read that is
// too early finds neither the new nor the old values.
inline void copy_async(Shared shared, const void* global, bool inside) {
  constexpr int kBytes = 16;
  host::check_copy(shared, global, kBytes);
  char bytes[kBytes] = {};
  for (int i = 0; inside && i < kBytes; ++i) {
    const char* const from = static_cast<const char*>(global) + i;
    // A GPU's memory extends to the end of a vector: the rest may be read, but not used.
    bytes[i] = i > 0 && host::is_behind_the_end(from) ? -1 : *from;
  }
  for (int i = 0; i < kBytes; ++i) shared[i] = -1;
  host::copy_later(shared, bytes, kBytes);
}

// Reads the byte, so that the address sanitizer checks the address.
inline void prefetch(const void* global) { *static_cast<const volatile char*>(global); }

inline void commit_copies() { host::commit_copies(); }

template <int PENDING>
inline void wait_for_copies_but() {
  host::wait_for_copies_but(PENDING);
}

inline void wait_for_copies() { host::wait_for_copies(); }

template <class Storage>
unsigned to_pair(float low, float high) {
  return to_storage<Storage>(low).bits | unsigned{to_storage<Storage>(high).bits} << 16;
}

// Whether kernels use products of matrices; a test may define it otherwise.
#ifndef HOST_HAS_TENSOR_CORES
#define HOST_HAS_TENSOR_CORES true
#endif
constexpr bool HAS_TENSOR_CORES = HOST_HAS_TENSOR_CORES;

// The operands of a lane: mma.m16n8k16 of the PTX manual, "Matrix Fragments".
struct TileOperands {
  const unsigned (&left)[4];
  const unsigned (&right)[2];

  template <class Storage>
  static float half_of(unsigned word, int half) {
    return to_real(Storage{static_cast<unsigned short>(word >> 16 * half)});
  }
};

// Tensor cores add the products in an order and with roundings of their own; this is one order.
template <class Storage>
void multiply_tiles(float (&sums)[4], const unsigned (&left)[4], const unsigned (&right)[2],
                    const float (&from)[4]) {
  const TileOperands mine{left, right};
  const void* const* shown = host::show_to_warp(&mine, __FILE__, __LINE__);
  const auto lane_of = [&](int lane) -> const TileOperands& {
    return *static_cast<const TileOperands*>(shown[lane]);
  };
  const int lane = threadIdx.x % 32;
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4, column = lane % 4 * 2 + i % 2;
    sums[i] = from[i];
    for (int k = 0; k < 16; ++k) {
      const unsigned a = lane_of(row * 4 + k % 8 / 2).left[i / 2 + k / 8 * 2];
      const unsigned b = lane_of(column * 4 + k % 8 / 2).right[k / 8];
      sums[i] = multiply_add(TileOperands::half_of<Storage>(a, k % 2),
                             TileOperands::half_of<Storage>(b, k % 2), sums[i]);
    }
  }
  host::wait_for_warp(__FILE__, __LINE__);
}

template <class Storage>
void multiply_tiles(float (&sums)[4], const unsigned (&left)[4], const unsigned (&right)[2]) {
  multiply_tiles<Storage>(sums, left, right, sums);
}

// ldmatrix of the PTX manual.
template <bool IS_TRANSPOSED>
void load_matrices(unsigned (&words)[4], const void* row) {
  host::check_row(row);
  const void* const* const rows = host::show_to_warp(row, __FILE__, __LINE__);
  const int lane = threadIdx.x % 32;
  for (int i = 0; i < 4; ++i) {
    unsigned short pair[2];
    for (int j = 0; j < 2; ++j) {
      const int line = IS_TRANSPOSED ? lane % 4 * 2 + j : lane / 4;
      const int column = IS_TRANSPOSED ? lane / 4 : lane % 4 * 2 + j;
      pair[j] = static_cast<const unsigned short*>(rows[8 * i + line])[column];
    }
    words[i] = pair[0] | static_cast<unsigned>(pair[1]) << 16;
  }
  host::wait_for_warp(__FILE__, __LINE__);
}

// movmatrix of the PTX manual.
inline unsigned transpose_matrix(unsigned word) {
  const void* const* const shown = host::show_to_warp(&word, __FILE__, __LINE__);
  const int lane = threadIdx.x % 32;
  unsigned result = 0;
  for (int j = 0; j < 2; ++j) {
    const int row = lane % 4 * 2 + j, column = lane / 4;
    const unsigned pair = *static_cast<const unsigned*>(shown[row * 4 + column / 2]);
    result |= (pair >> column % 2 * 16 & 0xffff) << 16 * j;
  }
  host::wait_for_warp(__FILE__, __LINE__);
  return result;
}

inline unsigned exchange(unsigned word, int lanes) {
  const void* const* const shown = host::show_to_warp(&word, __FILE__, __LINE__);
  const unsigned result = *static_cast<const unsigned*>(shown[threadIdx.x % 32 ^ lanes]);
  host::wait_for_warp(__FILE__, __LINE__);
  return result;
}

inline unsigned shuffle(unsigned word, int lane) {
  const void* const* const shown = host::show_to_warp(&word, __FILE__, __LINE__);
  const unsigned result = *static_cast<const unsigned*>(shown[lane % 32]);
  host::wait_for_warp(__FILE__, __LINE__);
  return result;
}

inline unsigned select_bytes(unsigned low, unsigned high, unsigned selector) {
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned digit = selector >> 4 * i & 7;
    result |= ((digit < 4 ? low >> 8 * digit : high >> 8 * (digit - 4)) & 0xff) << 8 * i;
  }
  return result;
}

inline int hide(int value) { return value; }
