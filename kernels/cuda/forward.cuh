// The output of an involution, computed by tiles.
//
// The sums are computed by tensor cores, or by threads of STRIP neighbouring pixels of
// THREAD_CHANNELS channels: each weight that a thread reads is used for all its channels, each
// pixel for all windows of its strip.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "pixels.cuh"
#include "problem.cuh"
#include "taps.cuh"
#include "tiles.cuh"
#include "window_bands.cuh"
#include "window_row.cuh"

using Taps = TapTile<ROWS, COLUMNS, K * K, SECOND_ORDER>;

// The taps of a warp's outputs, from the first and from the second on that a lane has in a row.
template <class Taps>
struct StoredKernels {
  static constexpr unsigned SECOND = 0x54, NONE = 0x33;
  const Storage *first[OCTET_ROWS], *second[OCTET_ROWS];

  __device__ __forceinline__ StoredKernels(const Taps& taps, const Plane& weight,
                                           const Octets& octets, int top, int left) {
    const int one = WindowColumns::tap_at(2 * octets.first());
    const int other = WindowColumns::tap_at(2 * octets.first() + 1);
    const int column = octets.column + octets.number;
#pragma unroll
    for (int i = 0; i < OCTET_ROWS; ++i) {
      const int row = octets.row + i;
      const Storage* from = taps.at(weight, 0, row, column, top + row, left + column);
      first[i] = from + (one < K ? one : 0);
      second[i] = from + (other < K ? other : 0);
    }
  }

  __device__ __forceinline__ void words(unsigned& low, unsigned& high, int i, int y) const {
    low = bits_of(first[y][i * K]);
    high = bits_of(second[y][i * K]);
  }
};

// Computes CHANNELS channels of the tile from (top, left) on.
template <class Pixels, class Taps>
__device__ __forceinline__ void compute(const Plane& output, const Pixels& pixels,
                                        const Taps& taps, const Plane& weight, int top, int left) {
  if constexpr (IS_BANDED) {
    const Octets octets;
    const StoredKernels<Taps> kernels(taps, weight, octets, top, left);
    const WindowBand<StoredKernels<Taps>> band(kernels, octets);
    compute_octets<RESULT_ORDER, 1>(output, pixels, octets, band, top, left);
  } else {
    const int position = threadIdx.x / LANES, c = threadIdx.x % LANES * THREAD_CHANNELS;
    const int row = position % ROWS, column = position / ROWS * STRIP;
    const int y = top + row, x = left + column;
    const Storage* kernels[STRIP];
#pragma unroll
    for (int i = 0; i < STRIP; ++i) kernels[i] = taps.at(weight, 0, row, column + i, y, x + i);
    Real sums[STRIP][THREAD_CHANNELS] = {};
#pragma unroll(K <= 9 ? K : 1)
    for (int tap = 0; tap < K; ++tap)
      add_window_row(sums, pixels.at(row * S + tap * D, column * S, c),
                     [&](int i, int offset) { return to_real(kernels[i][tap * K + offset]); });
#pragma unroll
    for (int i = 0; i < STRIP; ++i)
      if (output.has(y, x + i)) put<RESULT_ORDER>(output, c, y, x + i, sums[i]);
  }
}

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

  taps.fetch(weight, 0, block.top, block.left);
  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    pixels.template fetch<FIRST_ORDER>(input, block.top * S - problem.padding,
                                       block.left * S - problem.padding);
    wait_for_copies();
    __syncthreads();
    compute(output, pixels, taps, weight, block.top, block.left);
    __syncthreads();
    input.data += CHANNELS * input.channel;
    output.data += CHANNELS * output.channel;
  }
}
