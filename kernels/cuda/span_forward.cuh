// The output of an involution whose kernels are those of a span, computed by tiles.
//
// The block makes the taps itself, while the pixels are fetched. Then its sums are computed by
// tensor cores, or as in forward.cuh by threads of STRIP neighbouring pixels of THREAD_CHANNELS
// channels.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "pixels.cuh"
#include "problem.cuh"
#include "span.cuh"
#include "span_problem.cuh"
#include "span_taps.cuh"
#include "tiles.cuh"
#include "window_bands.cuh"
#include "window_row.cuh"

using Taps = SpanTaps<K, 0, 0, 1, Choose<IS_BANDED, WindowColumns, OwnOrder>>;

// The taps of a warp's outputs, in order for bands.
template <class Taps>
struct OrderedKernels {
  static constexpr unsigned SECOND = 0x32, NONE = 0x44;
  const Storage* from;

  __device__ __forceinline__ OrderedKernels(const Taps& taps, const Octets& octets)
      : from(taps.at(0, octets.row, octets.column + octets.number) + 2 * octets.first()) {}

  __device__ __forceinline__ void words(unsigned& low, unsigned& high, int i, int y) const {
    low = *reinterpret_cast<const unsigned*>(from + (i * ROWS + y) * Taps::PITCH);
    high = 0;
  }
};

// Computes CHANNELS channels of the tile from (top, left) on.
template <class Pixels, class Taps>
__device__ __forceinline__ void compute(const Plane& output, const Pixels& pixels,
                                        const Taps& taps, int top, int left) {
  if constexpr (Taps::Order::IS_FOR_BANDS) {
    const Octets octets;
    const OrderedKernels<Taps> kernels(taps, octets);
    const WindowBand<OrderedKernels<Taps>> band(kernels, octets);
    compute_octets<RESULT_ORDER, 1>(output, pixels, octets, band, top, left);
  } else {
    const int position = threadIdx.x / LANES, c = threadIdx.x % LANES * THREAD_CHANNELS;
    const int row = position % ROWS, column = position / ROWS * STRIP;
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
      if (output.has(top + row, left + column + i))
        put<RESULT_ORDER>(output, c, top + row, left + column + i, sums[i]);
  }
}

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

  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    pixels.template fetch<FIRST_ORDER>(input, block.top * S - problem.padding,
                                       block.left * S - problem.padding);
    if (chunk == 0) make_taps(taps, reduced, problem, block.group, {block.top, block.left, 0, 0});
    wait_for_copies();
    __syncthreads();
    compute(output, pixels, taps, block.top, block.left);
    __syncthreads();
    input.data += CHANNELS * input.channel;
    output.data += CHANNELS * output.channel;
  }
}
