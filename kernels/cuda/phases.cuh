// The gradient of an involution's input: which taps and outputs cover a pixel, and one row of them.
//
// A pixel gathers from the outputs whose windows cover it. At stride S the pixels form S x S
// interleaved phases, and only every STEP-th tap covers pixels of a phase.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "problem.cuh"
#include "tiles.cuh"

constexpr int COMMON = greatest_divisor(S, D);
constexpr int STEP = S / COMMON;      // from a tap to the next that covers the phase
constexpr int DISTANCE = D / COMMON;  // of the outputs of these two taps
constexpr int PHASE_TAPS = (K + STEP - 1) / STEP;  // at most, in each direction
constexpr int REACH = (PHASE_TAPS - 1) * DISTANCE;
constexpr int HEIGHT = ROWS + REACH, WIDTH = COLUMNS + REACH;

// In one direction, the first tap that covers a phase, and the output whose tap covers the phase's
// first pixel. The tap is K if none does.
struct Start {
  int tap, output;

  __device__ static Start of(int phase, int padding) {
    for (int tap = 0; tap < STEP; ++tap)
      if ((phase + padding - tap * D) % S == 0) return {tap, (phase + padding - tap * D) / S};
    return {K, 0};
  }
};

// Adds the products of one row of taps. `weights(x, i, index)` is the tap by which the x-th output
// covers the i-th pixel, the phase's tap number `index`, where `weights.has(index)`.
template <class Weights>
__device__ __forceinline__ void add_covering_row(Real (&sums)[STRIP][THREAD_CHANNELS],
                                                 const Storage* grads, const Weights& weights) {
#pragma unroll
  for (int x = 0; x < STRIP + REACH; ++x) {
    Real values[THREAD_CHANNELS];
    load(values, grads + x * CHANNELS);
#pragma unroll
    for (int i = 0; i < STRIP; ++i) {
      const int offset = REACH + i - x, index = offset / DISTANCE;
      if (offset < 0 || offset % DISTANCE || index >= PHASE_TAPS) continue;
      if (!weights.has(index)) continue;
      const Real weight = weights(x, i, index);
#pragma unroll
      for (int c = 0; c < THREAD_CHANNELS; ++c)
        sums[i][c] = multiply_add(weight, values[c], sums[i][c]);
    }
  }
}
