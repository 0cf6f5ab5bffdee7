// The kernels of an involution, computed a tile at a time by a 1x1 convolution, the span.
//
// A whole tensor of kernels is three times as large as the images, and would be written and read
// again. Here a tile exists only until it has been used.

#pragma once

#include <algorithm>
#include <cstdint>

#include "tensors.h"
#include "tiles.h"
#include "vectors.h"
#include "window.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace {

// Taps of a tile whose sums fit in registers, beside the pixels.
constexpr int64_t kTapsAtOnce = kVectors<float> == 1 ? 25 : 12 / kVectors<float>;

// A weight and a pixel are a float each or, as `Pair`, two bfloat16 of neighbouring channels, of
// which the products are added.
struct Single {
  static INLINE void add_product(Vec<float>& sum, float weight, Vec<float> pixel) {
    sum += weight * pixel;
  }
};

#if defined(__AVX512BF16__)
struct Pair {
  static INLINE void add_product(Vec<float>& sum, float weight, Vec<float> pixel) {
    const __m512 weights = _mm512_set1_ps(weight);
    sum = Vec<float>(_mm512_dpbf16_ps((__m512)sum, (__m512bh)weights, (__m512bh)pixel));
  }
};
#endif

// tile[tap][pixel] = bias[tap] + sum over `depth` channels of span[channel][tap] *
// pixels[channel][pixel], for kTile pixels and N of the `taps` taps.
template <typename Unit, int64_t N>
INLINE void span_taps(const float* pixels, const float* span, const float* bias, int64_t depth,
                      int64_t taps, float* tile) {
  constexpr int64_t vectors = kVectors<float>, lanes = Vector<float>::lanes;
  Vec<float> sums[N][vectors];
  unroll<N>([&](auto tap) INLINED {
    unroll<vectors>([&](auto v) INLINED { sums[tap][v] = Vec<float>{} + bias[tap]; });
  });
  for (int64_t channel = 0; channel < depth; ++channel, pixels += kTile, span += taps) {
    Vec<float> pixel[vectors];
    unroll<vectors>([&](auto v) INLINED { pixel[v] = load_vector(pixels + v * lanes); });
    unroll<N>([&](auto tap) INLINED {
      unroll<vectors>([&](auto v) INLINED { Unit::add_product(sums[tap][v], span[tap], pixel[v]); });
    });
  }
  unroll<N>([&](auto tap) INLINED {
    unroll<vectors>([&](auto v) INLINED {
      store_vector(tile + tap * kTile + v * lanes, sums[tap][v]);
    });
  });
}

// The same for all taps; their number is Taps if that is not 0.
template <typename Unit, int64_t Taps>
INLINE void span_tile(const float* pixels, const float* span, const float* bias, int64_t depth,
                      int64_t taps, float* tile) {
  constexpr int64_t parts = std::max<int64_t>(1, divide_up(Taps, kTapsAtOnce));
  constexpr int64_t part = Taps ? divide_up(Taps, parts) : std::min<int64_t>(8, kTapsAtOnce);
  constexpr int64_t rest = Taps ? Taps % part : 1;
  int64_t tap = 0;
  for (; tap + part <= taps; tap += part)
    span_taps<Unit, part>(pixels, span + tap, bias + tap, depth, taps, tile + tap * kTile);
  if constexpr (rest > 0)
    for (; tap < taps; tap += rest)
      span_taps<Unit, rest>(pixels, span + tap, bias + tap, depth, taps, tile + tap * kTile);
}

// The arguments of the span as Python passes them: span [group][channel][tap] and bias
// [group][tap]. With bfloat16 pairs a channel is a pair of neighbouring ones.
extern "C" {
struct Span {
  const float* weight;
  const float* bias;
  int64_t depth;  // channels, or pairs of them
};
}

// A tile is the kernels of a group for kTile pixels, [tap][pixel]: neighbours in a row or, if the
// image is so narrow that they fit, several whole rows.
template <typename Unit, int64_t K, int64_t S> class GeneratedKernels {
 public:
  static constexpr Order kOrder = Order::kTapPixel;

  // `reduced` has a pixel for each output.
  GeneratedKernels(const Problem<K, S>& problem, const View<float>& reduced, const Span& span)
      : problem_(problem), reduced_(reduced), span_(span),
        rows_(reduced.h == problem.out_width * reduced.w
                  ? std::max<int64_t>(1, kTile / problem.out_width)
                  : 1),
        pixels_size_(divide_up(problem.out_width, kTile) * span.depth * kTile),
        tile_size_(problem.taps() * kTile) {}

  // Elements of memory that a thread needs. Those beyond the last tile are read for the pixels that
  // fill a vector.
  int64_t memory() const {
    return pixels_size_ + (rows_ > 1 ? problem_.groups : 1) * tile_size_ + kTile;
  }

  void will_read(Ahead& ahead, const Task& task, int64_t i) const {
    ahead.will_read(reduced_, task.n, i, problem_.out_width);
  }

  // Packs the pixels of row `i`, or of the rows of its tile, as [tile][channel][pixel].
  void begin_row(float* memory, const Task& task, int64_t i) const {
    if (row_in_tile(task, i) > 0) return;
    const int64_t rows = std::min(rows_, task.end_row - i), columns = rows * problem_.out_width;
    for (int64_t j = 0; j < columns; j += kTile, memory += span_.depth * kTile)
      reduced_.storage.pack(memory, kTile, reduced_.at(task.n, 0, i, j), reduced_.c, reduced_.w,
                            span_.depth, std::min(kTile, columns - j), false);
  }

  // Returns the tile's kernels for (i, j) and its neighbours.
  const float* tile(float* memory, const Task& task, int64_t group, int64_t i, int64_t j) const {
    const int64_t taps = problem_.taps(), row = row_in_tile(task, i);
    const float* const pixels = memory + j * span_.depth;
    float* const tile = memory + pixels_size_ + (rows_ > 1 ? group - task.group : 0) * tile_size_;
    if (row == 0)
      span_tile<Unit, K * K>(pixels, span_.weight + group * span_.depth * taps,
                             span_.bias + group * taps, span_.depth, taps, tile);
    return tile + row * problem_.out_width;
  }

 private:
  int64_t row_in_tile(const Task& task, int64_t i) const { return (i - task.row) % rows_; }

  const Problem<K, S>& problem_;
  const View<float> reduced_;
  const Span span_;
  const int64_t rows_;  // of the outputs, in a tile
  const int64_t pixels_size_, tile_size_;
};

}  // namespace
