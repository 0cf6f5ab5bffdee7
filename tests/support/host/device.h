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

inline void commit_copies() { host::commit_copies(); }

template <int PENDING>
inline void wait_for_copies_but() {
  host::wait_for_copies_but(PENDING);
}

inline void wait_for_copies() { host::wait_for_copies(); }
