// Vectors of the width of a register, by the vector extensions of GCC and Clang.

#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#define INLINE inline __attribute__((always_inline))
#define INLINED __attribute__((always_inline))

namespace {

#if defined(__AVX512F__)
constexpr int64_t kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int64_t kVectorBytes = 32;
#else
constexpr int64_t kVectorBytes = 16;
#endif

struct bfloat16 {
  uint16_t bits;
};

template <typename A> struct Vector {
  static constexpr int64_t lanes = kVectorBytes / sizeof(A);
  typedef A type __attribute__((vector_size(kVectorBytes)));
  typedef std::conditional_t<sizeof(A) == 4, uint32_t, uint64_t> Bits;
  typedef Bits bits __attribute__((vector_size(kVectorBytes)));
};
template <typename A> using Vec = typename Vector<A>::type;

// Calls body(0), ..., body(N - 1) with compile-time constants.
template <typename F, int64_t... I>
INLINE void unrolled(F&& body, std::integer_sequence<int64_t, I...>) {
  (body(std::integral_constant<int64_t, I>{}), ...);
}
template <int64_t N, typename F> INLINE void unroll(F&& body) {
  unrolled(body, std::make_integer_sequence<int64_t, N>{});
}

constexpr int64_t round_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }
constexpr int64_t divide_up(int64_t value, int64_t by) { return (value + by - 1) / by; }

// Loads and stores of one element, which is float or double in registers.
INLINE float load(const float* from) { return *from; }
INLINE double load(const double* from) { return *from; }
INLINE float load(const bfloat16* from) {
  const uint32_t bits = uint32_t(from->bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

INLINE void store(float* to, float value) { *to = value; }
INLINE void store(double* to, double value) { *to = value; }
INLINE void store(bfloat16* to, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  to->bits = value != value ? 0x7fc0 : uint16_t(rounded);
}

// Loads and stores of a vector of elements.
template <typename A> INLINE Vec<A> copied(const A* from) {
  Vec<A> value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
INLINE Vec<float> load_vector(const float* from) { return copied(from); }
INLINE Vec<double> load_vector(const double* from) { return copied(from); }
INLINE Vec<float> load_vector(const bfloat16* from) {
  typedef uint16_t Narrow __attribute__((vector_size(kVectorBytes / 2)));
  Narrow narrow;
  std::memcpy(&narrow, from, sizeof narrow);
  return Vec<float>(__builtin_convertvector(narrow, Vector<float>::bits) << 16);
}

INLINE void store_vector(float* to, Vec<float> value) { std::memcpy(to, &value, sizeof value); }
INLINE void store_vector(double* to, Vec<double> value) { std::memcpy(to, &value, sizeof value); }
INLINE void store_vector(bfloat16* to, Vec<float> value) {
  typedef uint16_t Narrow __attribute__((vector_size(kVectorBytes / 2)));
  using Bits = Vector<float>::bits;
  const Bits bits = Bits(value);
  const Bits rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Bits is_nan = Bits(value != value);
  const Narrow narrow =
      __builtin_convertvector((rounded & ~is_nan) | (0x7fc0 & is_nan), Narrow);
  std::memcpy(to, &narrow, sizeof narrow);
}

// The given lanes of the concatenation of two vectors.
template <typename A, int64_t... I> INLINE Vec<A> shuffle(Vec<A> a, Vec<A> b) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, I...);
#else
  return __builtin_shuffle(a, b, typename Vector<A>::bits{typename Vector<A>::Bits(I)...});
#endif
}

// The lower or the higher halves of two vectors, lanes alternating.
template <typename A, bool high, int64_t... I>
INLINE Vec<A> interleave(Vec<A> a, Vec<A> b, std::integer_sequence<int64_t, I...>) {
  constexpr int64_t lanes = Vector<A>::lanes;
  return shuffle<A, (high * lanes / 2 + I / 2 + I % 2 * lanes)...>(a, b);
}

// Transposes a square of vectors: interleaves its upper and lower half log2(lanes) times.
template <typename A> INLINE void transpose(Vec<A>* rows) {
  constexpr int64_t lanes = Vector<A>::lanes;
  using Lanes = std::make_integer_sequence<int64_t, lanes>;
  for (int64_t length = lanes; length > 1; length /= 2) {
    Vec<A> mixed[lanes];
    unroll<lanes / 2>([&](auto i) INLINED {
      mixed[2 * i] = interleave<A, false>(rows[i], rows[i + lanes / 2], Lanes{});
      mixed[2 * i + 1] = interleave<A, true>(rows[i], rows[i + lanes / 2], Lanes{});
    });
    unroll<lanes>([&](auto i) INLINED { rows[i] = mixed[i]; });
  }
}

// Lanes `shift`, `shift` + 1, ... of the concatenation of two vectors.
template <typename A, int64_t shift, int64_t... I>
INLINE Vec<A> shifted(Vec<A> a, Vec<A> b, std::integer_sequence<int64_t, I...>) {
  return shuffle<A, (shift + I)...>(a, b);
}

}  // namespace
