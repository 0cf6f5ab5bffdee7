// Pillow's resampling of 8-bit RGB images, to the last bit (src/libImaging/Resample.c).
//
// Weights are computed in double precision and rounded to 22 bits behind the point; sums are exact
// 32-bit integers, rounded to 8 bits after the horizontal and after the vertical pass. The sums may
// therefore be computed in any order, but the weights only without fused multiply-adds: compile
// with -ffp-contract=off.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

enum Filter { kNone = 0, kBilinear = 1, kBicubic = 2 };

constexpr int kPrecision = 32 - 8 - 2;  // bits of a weight behind the point
constexpr int kHalf = 1 << (kPrecision - 1);

double weigh(Filter filter, double x) {
  x = std::fabs(x);
  if (filter == kBilinear) return x < 1.0 ? 1.0 - x : 0.0;
  constexpr double a = -0.5;
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

// The source pixels of each output pixel along an axis: `count` of them from `first` on.
struct Taps {
  std::vector<int> first, count;
  std::vector<int32_t> weights;  // `stride` for each output pixel
  int stride = 0;

  // `size` source pixels become `out_size` pixels, of which `wanted` from `start` on are computed.
  Taps(Filter filter, int size, int out_size, int start, int wanted)
      : first(wanted), count(wanted) {
    const double scale = static_cast<double>(static_cast<float>(size)) / out_size;
    const double widening = std::max(scale, 1.0);
    const double support = (filter == kBilinear ? 1.0 : 2.0) * widening;
    const double inverse = 1.0 / widening;
    stride = static_cast<int>(std::ceil(support)) * 2 + 1;
    weights.assign(static_cast<size_t>(wanted) * stride, 0);
    std::vector<double> exact(stride);
    for (int out = 0; out < wanted; ++out) {
      const double center = (start + out + 0.5) * scale;
      const int low = std::max(0, static_cast<int>(center - support + 0.5));
      const int high = std::min(size, static_cast<int>(center + support + 0.5));
      double sum = 0.0;
      for (int tap = 0; tap < high - low; ++tap) {
        exact[tap] = weigh(filter, (tap + low - center + 0.5) * inverse);
        sum += exact[tap];
      }
      first[out] = low;
      count[out] = high - low;
      for (int tap = 0; tap < high - low; ++tap) {
        const double weight = sum != 0.0 ? exact[tap] / sum : exact[tap];
        const double rounding = weight < 0 ? -0.5 : 0.5;
        weights[static_cast<size_t>(out) * stride + tap] =
            static_cast<int32_t>(rounding + weight * (1 << kPrecision));
      }
    }
  }

  int begin() const { return first.front(); }
  int end() const { return first.back() + count.back(); }
};

typedef uint8_t Bytes16 __attribute__((vector_size(16)));
typedef int32_t Ints16 __attribute__((vector_size(64)));

constexpr int kLanes = 16;
constexpr int kRowsAtOnce = 4;  // rows of pixels of 4 bytes that fill the lanes

// Loops and not __builtin_convertvector, which GCC 12 compiles to scalar code. Vectors are passed by
// reference, as the registers for values differ between CPUs.
inline void add_weighted(Ints16& sums, const uint8_t* bytes, int32_t weight) {
  Ints16 wide;
  for (int i = 0; i < kLanes; ++i) wide[i] = bytes[i];
  sums += wide * weight;
}

inline void round_off(Ints16& sums, uint8_t* bytes) {
  sums >>= kPrecision;
  sums = sums < 0 ? Ints16{} : sums;
  sums = sums > 255 ? Ints16{} + 255 : sums;
  for (int i = 0; i < kLanes; ++i) bytes[i] = static_cast<uint8_t>(sums[i]);
}

// Interleave rows of `width` pixels of 4 bytes: all rows' first pixels, their second pixels, ...
inline void interleave(const uint8_t* const* rows, int width, uint32_t* output) {
  uint32_t pixels[kRowsAtOnce];
  for (int x = 0; x < width; ++x, output += kRowsAtOnce) {
    for (int row = 0; row < kRowsAtOnce; ++row) std::memcpy(&pixels[row], rows[row] + 4 * x, 4);
    std::memcpy(output, pixels, sizeof(pixels));
  }
}

// Resample interleaved rows, which begin with column taps.begin(). The first `count` results are
// rows of pixels of 3 bytes, with room for one byte more, which may be mirrored.
inline void resample_rows(const Taps& taps, const uint32_t* interleaved, int count, bool mirror,
                          uint8_t* const* outputs) {
  const int size = static_cast<int>(taps.first.size());
  for (int x = 0; x < size; ++x) {  // in the order of the output, as the fourth byte is in its way
    const int out = mirror ? size - 1 - x : x;
    const auto* pixels = reinterpret_cast<const uint8_t*>(
        interleaved + kRowsAtOnce * (taps.first[out] - taps.begin()));
    const int32_t* weights = taps.weights.data() + static_cast<size_t>(out) * taps.stride;
    Ints16 sums = Ints16{} + kHalf;
    for (int tap = 0; tap < taps.count[out]; ++tap) {
      add_weighted(sums, pixels + kLanes * tap, weights[tap]);
    }
    uint8_t bytes[kLanes];
    round_off(sums, bytes);
    for (int row = 0; row < count; ++row) std::memcpy(outputs[row] + 3 * x, bytes + 4 * row, 4);
  }
}

// Resample down the columns of rows of `stride` bytes, a multiple of kLanes, which begin with row
// taps.begin().
inline void resample_columns(const Taps& taps, const uint8_t* rows, int stride, uint8_t* output) {
  const int size = static_cast<int>(taps.first.size());
  for (int out = 0; out < size; ++out, output += stride) {
    const uint8_t* first = rows + static_cast<size_t>(taps.first[out] - taps.begin()) * stride;
    const int32_t* weights = taps.weights.data() + static_cast<size_t>(out) * taps.stride;
    const int count = taps.count[out];
    for (int start = 0; start < stride; start += kLanes) {
      Ints16 sums = Ints16{} + kHalf;
      const uint8_t* bytes = first + start;
      for (int tap = 0; tap < count; ++tap, bytes += stride) {
        add_weighted(sums, bytes, weights[tap]);
      }
      round_off(sums, output + start);
    }
  }
}

}  // namespace
