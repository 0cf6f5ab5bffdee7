// The output of an involution, computed by tiles.
//
// A thread computes STRIP neighbouring pixels of THREAD_CHANNELS channels: each weight that it
// reads is used for all its channels, each pixel for all windows of its strip.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "pixels.cuh"
#include "problem.cuh"
#include "taps.cuh"
#include "tiles.cuh"
#include "window_row.cuh"

using Pixels = PixelTile<INPUT_ROWS, INPUT_COLUMNS, S>;
using Taps = TapTile<ROWS, COLUMNS, K * K, SECOND_ORDER>;

extern "C" __global__ void __launch_bounds__(THREADS) involution2d(const Problem problem) {
  __shared__ __align__(16) Storage pixel_space[Pixels::SIZE];
  __shared__ __align__(16) char tap_space[Taps::SIZE];
  const Pixels pixels{pixel_space};
  const Taps taps{tap_space};

  const Block<1> block(problem);
  const int channel = block.group * GROUP_WIDTH;
  Plane input(problem.first, block.image, channel, problem.height, problem.width);
  const Plane weight(problem.second, block.image, block.group * K * K, problem.out_height,
                     problem.out_width);
  Plane output(problem.result, block.image, channel, problem.out_height, problem.out_width);

  const int position = threadIdx.x / LANES, c = threadIdx.x % LANES * THREAD_CHANNELS;
  const int row = position % ROWS, column = position / ROWS * STRIP;
  const int y = block.top + row, x = block.left + column;
  const Storage* kernels[STRIP];
#pragma unroll
  for (int i = 0; i < STRIP; ++i) kernels[i] = taps.at(weight, 0, row, column + i, y, x + i);

  taps.fetch(weight, 0, block.top, block.left);
  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    pixels.template fetch<FIRST_ORDER>(input, block.top * S - problem.padding,
                                       block.left * S - problem.padding);
    wait_for_copies();
    __syncthreads();
    Real sums[STRIP][THREAD_CHANNELS] = {};
#pragma unroll(K <= 9 ? K : 1)
    for (int tap = 0; tap < K; ++tap)
      add_window_row(sums, pixels.at(row * S + tap * D, column * S, c),
                     [&](int i, int offset) { return to_real(kernels[i][tap * K + offset]); });
#pragma unroll
    for (int i = 0; i < STRIP; ++i)
      if (output.has(y, x + i)) put<RESULT_ORDER>(output, c, y, x + i, sums[i]);
    __syncthreads();
    input.data += CHANNELS * input.channel;
    output.data += CHANNELS * output.channel;
  }
}
