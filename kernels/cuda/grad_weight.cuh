// The gradient of an involution's weight, computed by tiles.
//
// The gradients of a tile's taps are collected in shared memory, to be written in memory order.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "problem.cuh"
#include "tap_sums.cuh"
#include "taps.cuh"
#include "tiles.cuh"

static_assert(THREADS == SUMMING_THREADS, "one thread for each strip and row of taps");

using Taps = TapTile<ROWS, COLUMNS, K * K, RESULT_ORDER>;

extern "C" __global__ void __launch_bounds__(THREADS)
    involution2d_grad_weight(const Problem problem) {
  __shared__ __align__(16) char space[FETCHED > Taps::SIZE ? FETCHED : Taps::SIZE];
  const Taps taps{space};

  const Block<1> block(problem);
  const int channel = block.group * GROUP_WIDTH;
  const Plane grad(problem.first, block.image, channel, problem.out_height, problem.out_width);
  const Plane input(problem.second, block.image, channel, problem.height, problem.width);
  const Plane result(problem.result, block.image, block.group * K * K, problem.out_height,
                     problem.out_width);

  const Strip strip;
  Real sums[STRIP][K] = {};
  add_group(sums, strip, grad, input, block.top, block.left, problem.padding, space);
#pragma unroll
  for (int i = 0; i < STRIP; ++i) {
    const int column = strip.column + i;
    Storage* to = taps.at(result, 0, strip.row, column, block.top + strip.row, block.left + column);
#pragma unroll
    for (int tap = 0; tap < K; ++tap)
      to[strip.window_row * K + tap] = to_storage<Storage>(sums[i][tap]);
  }
  __syncthreads();
  taps.send(result, block.top, block.left);
}
