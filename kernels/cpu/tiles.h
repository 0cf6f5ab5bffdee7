// The arithmetic on packed tiles: a few neighbouring outputs of one row, 16 channels at a time.
//
// In the forward pass and the gradient of the input a vector holds channels: a kernel value is
// broadcast, and a loaded pixel serves up to K outputs. In the gradient of the weight it holds
// columns.

#pragma once

#include <cstdint>
#include <utility>

#include "vectors.h"
#include "window.h"

namespace {

// Vectors of a packed pixel, and outputs whose sums fit in registers.
template <typename A> constexpr int64_t kVectors = kBlock / Vector<A>::lanes;
template <typename A> constexpr int64_t kOutputs = kVectors<A> == 1 ? 8 : 4;

// The number of the K columns of taps that have a given remainder modulo the stride.
template <int64_t S, int64_t Remainder, int64_t K> constexpr int64_t kPhaseTaps =
    Remainder < K ? (K - Remainder + S - 1) / S : 0;

// output[j] = sum over the taps of kernels[j][tap] * pixel of the tap, for kOutputs neighbours; in
// memory the kernels have the given order.
template <Order order, typename A, int64_t K, int64_t S>
INLINE void correlate(const Problem<K, S>& problem, const A* const* rows, int64_t first,
                      const A* kernels, A* output) {
  constexpr int64_t vectors = kVectors<A>, lanes = Vector<A>::lanes, outputs = kOutputs<A>;
  const int64_t size = problem.size();
  const int64_t pitch = problem.pixel_pitch(order), step = problem.tap_pitch(order);
  Vec<A> sums[outputs][vectors] = {};
  for (int64_t kh = 0; kh < size; ++kh, kernels += size * step) {
    if constexpr (K > 0) {
      unroll<S>([&](auto remainder) INLINED {
        constexpr int64_t taps = kPhaseTaps<S, remainder, K>;
        const A* pixels = rows[kh] + (first + remainder * problem.phase) * kBlock;
        unroll<outputs + taps - 1>([&](auto column) INLINED {
          Vec<A> pixel[vectors];
          unroll<vectors>([&](auto v) INLINED {
            pixel[v] = load_vector(pixels + column * kBlock + v * lanes);
          });
          unroll<taps>([&](auto tap) INLINED {
            constexpr int64_t j = column - tap;
            if constexpr (j >= 0 && j < outputs)
              unroll<vectors>([&](auto v) INLINED {
                sums[j][v] += kernels[j * pitch + (tap * S + remainder) * step] * pixel[v];
              });
          });
        });
      });
    } else {
      for (int64_t kw = 0; kw < size; ++kw) {
        const A* pixels = rows[kh] + (first + problem.offset(kw)) * kBlock;
        unroll<outputs>([&](auto j) INLINED {
          unroll<vectors>([&](auto v) INLINED {
            sums[j][v] += kernels[j * pitch + kw * step] *
                          load_vector(pixels + j * kBlock + v * lanes);
          });
        });
      }
    }
  }
  unroll<outputs>([&](auto j) INLINED {
    unroll<vectors>([&](auto v) INLINED {
      store_vector(output + j * kBlock + v * lanes, sums[j][v]);
    });
  });
}

// pixel of the tap += kernels[j][tap] * gradient[j], for kOutputs neighbours; null rows are
// skipped.
template <typename A, int64_t K, int64_t S>
INLINE void scatter(const Problem<K, S>& problem, A* const* rows, int64_t first,
                    const A* kernels, const A* gradient) {
  constexpr int64_t vectors = kVectors<A>, lanes = Vector<A>::lanes, outputs = kOutputs<A>;
  const int64_t size = problem.size(), pitch = problem.pitch();
  Vec<A> gradients[outputs][vectors];
  unroll<outputs>([&](auto j) INLINED {
    unroll<vectors>([&](auto v) INLINED {
      gradients[j][v] = load_vector(gradient + j * kBlock + v * lanes);
    });
  });
  for (int64_t kh = 0; kh < size; ++kh, kernels += size) {
    if (!rows[kh]) continue;
    if constexpr (K > 0) {
      unroll<S>([&](auto remainder) INLINED {
        constexpr int64_t taps = kPhaseTaps<S, remainder, K>;
        A* pixels = rows[kh] + (first + remainder * problem.phase) * kBlock;
        unroll<outputs + taps - 1>([&](auto column) INLINED {
          unroll<vectors>([&](auto v) INLINED {
            A* pixel = pixels + column * kBlock + v * lanes;
            Vec<A> sum = load_vector(pixel);
            unroll<taps>([&](auto tap) INLINED {
              constexpr int64_t j = column - tap;
              if constexpr (j >= 0 && j < outputs)
                sum += kernels[j * pitch + tap * S + remainder] * gradients[j][v];
            });
            store_vector(pixel, sum);
          });
        });
      });
    } else {
      for (int64_t kw = 0; kw < size; ++kw) {
        A* pixels = rows[kh] + (first + problem.offset(kw)) * kBlock;
        unroll<outputs>([&](auto j) INLINED {
          unroll<vectors>([&](auto v) INLINED {
            A* pixel = pixels + j * kBlock + v * lanes;
            store_vector(pixel, load_vector(pixel) + kernels[j * pitch + kw] * gradients[j][v]);
          });
        });
      }
    }
  }
}

// kernels[kw][j] = sum over the channels of gradient[c][j] * row[c][offset(kw) + j], for the kTile
// columns of one row of taps. A vector that straddles two cache lines takes four times as long to
// load as an aligned one, so shifted vectors are assembled from aligned ones.
template <typename A, int64_t K, int64_t S>
INLINE void multiply_rows(const Problem<K, S>& problem, const A* row, int64_t row_pitch,
                          const A* gradient, A* kernels) {
  constexpr int64_t lanes = Vector<A>::lanes;
  using Lanes = std::make_integer_sequence<int64_t, lanes>;
  for (int64_t j = 0; j < kTile; j += lanes) {
    if constexpr (K > 0) {
      Vec<A> sums[K] = {};
      for (int64_t c = 0; c < problem.group_channels; ++c) {
        const Vec<A> gradients = load_vector(gradient + c * problem.out_columns + j);
        unroll<S>([&](auto remainder) INLINED {
          constexpr int64_t taps = kPhaseTaps<S, remainder, K>;
          const A* pixels = row + c * row_pitch + remainder * problem.phase + j;
          Vec<A> aligned[(taps - 1) / lanes + 2];
          unroll<(taps - 1) / lanes + 2>([&](auto i) INLINED {
            aligned[i] = load_vector(pixels + i * lanes);
          });
          unroll<taps>([&](auto tap) INLINED {
            constexpr int64_t first = tap / lanes;
            sums[tap * S + remainder] += gradients * shifted<A, tap % lanes>(
                aligned[first], aligned[first + 1], Lanes{});
          });
        });
      }
      unroll<K>([&](auto kw) INLINED { store_vector(kernels + kw * kTile + j, sums[kw]); });
    } else {
      for (int64_t kw = 0; kw < problem.size(); ++kw) {
        const A* pixels = row + problem.offset(kw) + j;
        Vec<A> sum = {};
        for (int64_t c = 0; c < problem.group_channels; ++c)
          sum += load_vector(gradient + c * problem.out_columns + j) *
                 load_vector(pixels + c * row_pitch);
        store_vector(kernels + kw * kTile + j, sum);
      }
    }
  }
}

}  // namespace
