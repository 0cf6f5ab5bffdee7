// The gradient of an involution's input, computed by tiles.
//
// A block computes pixels of one phase, a thread STRIP neighbours in a phase, of THREAD_CHANNELS
// channels. The weights are fetched one row of taps at a time, each while the previous one is used.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "phases.cuh"
#include "pixels.cuh"
#include "problem.cuh"
#include "taps.cuh"
#include "tiles.cuh"

using Grads = PixelTile<HEIGHT, WIDTH>;
using Taps = TapTile<ROWS, WIDTH, K, SECOND_ORDER>;

// The taps of the outputs that cover a strip in one row, of which `first` is the first that covers
// the phase.
struct RowOfTaps {
  const Storage* const (&kernels)[STRIP + REACH];
  int first;

  __device__ __forceinline__ bool has(int index) const {
    return S == 1 || first + index * STEP < K;
  }
  __device__ __forceinline__ Real operator()(int x, int, int index) const {
    return to_real(kernels[x][first + index * STEP]);
  }
};

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
        add_covering_row(sums, grads.at(row + REACH - index * DISTANCE, column, c),
                RowOfTaps{kernels, right.tap});
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
