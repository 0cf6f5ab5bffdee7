// The gradient of an involution's weight, computed by tiles.
//
// A thread sums the products of one row of taps, for STRIP neighbouring pixels, over all channels
// of the group. The gradients are then collected in shared memory, to be written in memory order.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "pixels.cuh"
#include "problem.cuh"
#include "taps.cuh"
#include "tiles.cuh"

constexpr int POSITIONS = ROWS * STRIPS;
static_assert(THREADS == POSITIONS * K, "one thread for each strip and row of taps");

using Pixels = PixelTile<INPUT_ROWS, INPUT_COLUMNS, S>;
using Grads = PixelTile<ROWS, COLUMNS>;
using Taps = TapTile<ROWS, COLUMNS, K * K, RESULT_ORDER>;
constexpr int FETCHED = (Pixels::SIZE + Grads::SIZE) * BYTES;

// Adds the products of THREAD_CHANNELS channels.
__device__ __forceinline__ void add_channels(Real (&sums)[STRIP][K], const Storage* grads,
                                             const Storage* pixels) {
  Real outer[STRIP][THREAD_CHANNELS];
#pragma unroll
  for (int i = 0; i < STRIP; ++i) load(outer[i], grads + i * CHANNELS);
#pragma unroll
  for (int x = 0; x < STRIP_INPUTS; ++x) {
    Real values[THREAD_CHANNELS];
    load(values, pixels + x * CHANNELS);
#pragma unroll
    for (int i = 0; i < STRIP; ++i) {
      const int offset = x - i * S;
      if (offset < 0 || offset % D || offset / D >= K) continue;
#pragma unroll
      for (int c = 0; c < THREAD_CHANNELS; ++c) {
        Real& sum = sums[i][offset / D];
        sum = multiply_add(outer[i][c], values[c], sum);
      }
    }
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    involution2d_grad_weight(const Problem problem) {
  __shared__ __align__(16) char space[FETCHED > Taps::SIZE ? FETCHED : Taps::SIZE];
  const Pixels pixels{reinterpret_cast<Storage*>(space)};
  const Grads grads{pixels.data + Pixels::SIZE};
  const Taps taps{space};

  const Block<1> block(problem);
  const int channel = block.group * GROUP_WIDTH;
  Plane grad(problem.first, block.image, channel, problem.out_height, problem.out_width);
  Plane input(problem.second, block.image, channel, problem.height, problem.width);
  const Plane result(problem.result, block.image, block.group * K * K, problem.out_height,
                     problem.out_width);

  const int position = threadIdx.x % POSITIONS, window_row = threadIdx.x / POSITIONS;
  const int row = position / STRIPS, column = position % STRIPS * STRIP;
  Real sums[STRIP][K] = {};
  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    grads.template fetch<FIRST_ORDER>(grad, block.top, block.left);
    pixels.template fetch<SECOND_ORDER>(input, block.top * S - problem.padding,
                                        block.left * S - problem.padding);
    wait_for_copies();
    __syncthreads();
    // Rolled for large windows: unrolled it needs half as many registers again, and fewer blocks fit.
#pragma unroll(K <= 3 ? LANES : 1)
    for (int i = 0; i < LANES; ++i) {
      // Neighbouring threads start at different channels, so that they read different banks.
      const int c = (i + position) % LANES * THREAD_CHANNELS;
      add_channels(sums, grads.at(row, column, c),
                   pixels.at(row * S + window_row * D, column * S, c));
    }
    __syncthreads();
    grad.data += CHANNELS * grad.channel;
    input.data += CHANNELS * input.channel;
  }
#pragma unroll
  for (int i = 0; i < STRIP; ++i) {
    Storage* to = taps.at(result, 0, row, column + i, block.top + row, block.left + column + i);
#pragma unroll
    for (int tap = 0; tap < K; ++tap)
      to[window_row * K + tap] = to_storage<Storage>(sums[i][tap]);
  }
  __syncthreads();
  taps.send(result, block.top, block.left);
}
