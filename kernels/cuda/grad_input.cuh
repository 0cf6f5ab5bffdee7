// The gradient of an involution's input, computed by tiles.
//
// A pixel gathers from the outputs whose windows cover it. At stride S the pixels form S x S
// interleaved phases, and only every STEP-th tap covers pixels of a phase. A block computes pixels
// of one phase, a thread STRIP neighbours in a phase, of THREAD_CHANNELS channels. The weights are
// fetched one row of taps at a time, each while the previous one is used.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "pixels.cuh"
#include "problem.cuh"
#include "taps.cuh"
#include "tiles.cuh"

constexpr int COMMON = greatest_divisor(S, D);
constexpr int STEP = S / COMMON;      // from a tap to the next that covers the phase
constexpr int DISTANCE = D / COMMON;  // of the outputs of these two taps
constexpr int PHASE_TAPS = (K + STEP - 1) / STEP;  // at most, in each direction
constexpr int REACH = (PHASE_TAPS - 1) * DISTANCE;
constexpr int HEIGHT = ROWS + REACH, WIDTH = COLUMNS + REACH;

using Grads = PixelTile<HEIGHT, WIDTH>;
using Taps = TapTile<ROWS, WIDTH, K, SECOND_ORDER>;

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

// Adds the products of one row of taps, of which `first` is the first that covers the phase.
__device__ __forceinline__ void add_row(Real (&sums)[STRIP][THREAD_CHANNELS], const Storage* grads,
                                        const Storage* const (&taps)[STRIP + REACH], int first) {
#pragma unroll
  for (int x = 0; x < STRIP + REACH; ++x) {
    Real values[THREAD_CHANNELS];
    load(values, grads + x * CHANNELS);
#pragma unroll
    for (int i = 0; i < STRIP; ++i) {
      const int offset = REACH + i - x;
      if (offset < 0 || offset % DISTANCE || offset / DISTANCE >= PHASE_TAPS) continue;
      const int tap = first + offset / DISTANCE * STEP;
      if (S > 1 && tap >= K) continue;
      const Real weight = to_real(taps[x][tap]);
#pragma unroll
      for (int c = 0; c < THREAD_CHANNELS; ++c)
        sums[i][c] = multiply_add(weight, values[c], sums[i][c]);
    }
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    involution2d_grad_input(const Problem problem) {
  __shared__ __align__(16) Storage grad_space[Grads::SIZE];
  __shared__ __align__(16) char tap_space[2][Taps::SIZE];
  const Grads grads{grad_space};

  const Block<S> block(problem);
  const int channel = block.group * GROUP_WIDTH;
  Plane grad(problem.first, block.image, channel, problem.out_height, problem.out_width);
  const Plane weight(problem.second, block.image, block.group * K * K, problem.out_height,
                     problem.out_width);
  Plane result(problem.result, block.image, channel, problem.height, problem.width);

  const Start down = Start::of(block.phase_row, problem.padding);
  const Start right = Start::of(block.phase_column, problem.padding);
  const int top = block.top + down.output, left = block.left + right.output - REACH;
  const int position = threadIdx.x / LANES, c = threadIdx.x % LANES * THREAD_CHANNELS;
  const int row = position % ROWS, column = position / ROWS * STRIP;

  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    const auto fetch_taps = [&](int index) {
      const Taps taps{tap_space[index % 2]};
      const int tap = down.tap + index * STEP;
      if (tap < K) taps.fetch(weight, tap * K, top, left, index * DISTANCE);
      commit_copies();
    };
    Real sums[STRIP][THREAD_CHANNELS] = {};
    grads.template fetch<FIRST_ORDER>(grad, top - REACH, left);
    fetch_taps(0);
#pragma unroll 1
    for (int index = 0; index < PHASE_TAPS; ++index) {
      if (index + 1 < PHASE_TAPS) fetch_taps(index + 1);
      if (index + 1 < PHASE_TAPS) wait_for_copies_but<1>(); else wait_for_copies();
      __syncthreads();
      const int tap = down.tap + index * STEP;
      if (tap < K) {
        const Taps taps{tap_space[index % 2]};
        const Storage* kernels[STRIP + REACH];
#pragma unroll
        for (int x = 0; x < STRIP + REACH; ++x)
          kernels[x] = taps.at(weight, tap * K, row, column + x, top - index * DISTANCE + row,
                               left + column + x);
        add_row(sums, grads.at(row + REACH - index * DISTANCE, column, c), kernels, right.tap);
      }
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < STRIP; ++i) {
      const int y = (block.top + row) * S + block.phase_row;
      const int x = (block.left + column + i) * S + block.phase_column;
      if (result.has(y, x)) put<RESULT_ORDER>(result, c, y, x, sums[i]);
    }
    grad.data += CHANNELS * grad.channel;
    result.data += CHANNELS * result.channel;
  }
}
