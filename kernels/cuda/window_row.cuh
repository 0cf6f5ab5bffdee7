// One row of the windows of a strip of outputs: the arithmetic of the forward pass.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "problem.cuh"
#include "tiles.cuh"

// Adds the products of one row of the windows. `weights(i, tap)` is a tap of the i-th output.
template <class Weights>
__device__ __forceinline__ void add_window_row(Real (&sums)[STRIP][THREAD_CHANNELS],
                                               const Storage* pixels, const Weights& weights) {
#pragma unroll
  for (int x = 0; x < STRIP_INPUTS; ++x) {
    Real values[THREAD_CHANNELS];
    load(values, pixels + x * CHANNELS);
#pragma unroll
    for (int i = 0; i < STRIP; ++i) {
      const int offset = x - i * S;
      if (offset < 0 || offset % D || offset / D >= K) continue;
      const Real weight = weights(i, offset / D);
#pragma unroll
      for (int c = 0; c < THREAD_CHANNELS; ++c)
        sums[i][c] = multiply_add(weight, values[c], sums[i][c]);
    }
  }
}
