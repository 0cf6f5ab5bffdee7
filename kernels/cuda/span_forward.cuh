// The output of an involution whose kernels are those of a span, computed by tiles.
//
// As in forward.cuh a thread computes STRIP neighbouring pixels of THREAD_CHANNELS channels; but
// the block makes the taps itself, while the pixels are fetched.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "pixels.cuh"
#include "problem.cuh"
#include "span.cuh"
#include "span_problem.cuh"
#include "span_taps.cuh"
#include "tiles.cuh"
#include "window_row.cuh"

using Pixels = PixelTile<INPUT_ROWS, INPUT_COLUMNS, S>;
using Taps = SpanTaps<K, 0, 0, 1>;

extern "C" __global__ void __launch_bounds__(THREADS) span_involution2d(const SpanProblem problem) {
  __shared__ __align__(16) Storage pixel_space[Pixels::SIZE];
  __shared__ __align__(16) Storage tap_space[Taps::SIZE];
  const Pixels pixels{pixel_space};
  const Taps taps{tap_space};

  const Block<1> block(problem);
  const int channel = block.group * GROUP_WIDTH;
  Plane input(problem.first, block.image, channel, problem.height, problem.width);
  const Plane reduced(problem.second, block.image, 0, problem.out_height, problem.out_width);
  Plane output(problem.result, block.image, channel, problem.out_height, problem.out_width);

  const int position = threadIdx.x / LANES, c = threadIdx.x % LANES * THREAD_CHANNELS;
  const int row = position % ROWS, column = position / ROWS * STRIP;
  const int y = block.top + row, x = block.left + column;

  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    pixels.template fetch<FIRST_ORDER>(input, block.top * S - problem.padding,
                                       block.left * S - problem.padding);
    if (chunk == 0) make_taps(taps, reduced, problem, block.group, {block.top, block.left, 0, 0});
    wait_for_copies();
    __syncthreads();
    Real sums[STRIP][THREAD_CHANNELS] = {};
#pragma unroll(K <= 9 ? K : 1)
    for (int tap = 0; tap < K; ++tap) {
      SpanRow<Taps, BYTES> kernels[STRIP];
#pragma unroll
      for (int i = 0; i < STRIP; ++i) kernels[i].load(taps.at(tap, row, column + i));
      add_window_row(sums, pixels.at(row * S + tap * D, column * S, c),
                     [&](int i, int offset) { return kernels[i][offset]; });
    }
#pragma unroll
    for (int i = 0; i < STRIP; ++i)
      if (output.has(y, x + i)) put<RESULT_ORDER>(output, c, y, x + i, sums[i]);
    __syncthreads();
    input.data += CHANNELS * input.channel;
    output.data += CHANNELS * output.channel;
  }
}
