// The gradient of an involution's input, computed by tiles.
//
// A block computes pixels of one phase: by tensor cores, or by threads of STRIP neighbours in a
// phase of THREAD_CHANNELS channels. The weights are fetched one row of taps at a time, each while
// the previous one is used.

#pragma once

#include "config.cuh"
#include "covering_bands.cuh"
#include "device.cuh"
#include "phases.cuh"
#include "pixels.cuh"
#include "problem.cuh"
#include "taps.cuh"
#include "tiles.cuh"

using Taps = TapTile<ROWS, WIDTH, K, SECOND_ORDER>;

// Whether every phase has row number `index` of its taps.
__device__ constexpr bool has_row_of_taps(int index) {
  return COMMON == 1 && (index + 1) * STEP <= K;
}

// A row of the phase's taps: the first of them in memory, the first output's row, and the column of
// the tile's first output.
struct TapRow {
  Taps taps;
  int tap, y, left;

  // The taps of an output of the tile.
  __device__ __forceinline__ const Storage* at(const Plane& weight, int row, int column) const {
    return taps.at(weight, tap, row, column, y + row, left + column);
  }
};

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

// The sums of a thread's strip.
template <bool, class Number = Storage>
struct Sums {
  const int position = threadIdx.x / LANES, c = threadIdx.x % LANES * THREAD_CHANNELS;
  const int row = position % ROWS, column = position / ROWS * STRIP;
  const int first;
  Real sums[STRIP][THREAD_CHANNELS] = {};

  __device__ __forceinline__ Sums(const Grads&, int first_tap) : first(first_tap) {}

  __device__ __forceinline__ void add(const Grads& grads, const Plane& weight, const TapRow& taps,
                                      int index) {
    const Storage* kernels[STRIP + REACH];
#pragma unroll
    for (int x = 0; x < STRIP + REACH; ++x) kernels[x] = taps.at(weight, row, column + x);
    add_covering_row(sums, grads.at(row + REACH - index * DISTANCE, column, c),
                     RowOfTaps{kernels, first});
  }

  __device__ __forceinline__ void send(const Plane& result, int top, int left) const {
#pragma unroll
    for (int i = 0; i < STRIP; ++i) {
      const int y = top + row * S, x = left + (column + i) * S;
      if (result.has(y, x)) put<RESULT_ORDER>(result, c, y, x, sums[i]);
    }
  }
};

// The sums of a warp's octets. Lines of pixels are kept for the next rows of taps.
template <class Number>
struct Sums<true, Number> {
  const Octets octets;
  const int first;
  const CoveringOutputs outputs;
  const BandPixels<Grads, 1> pixels;
  OctetSums sums = {};
  unsigned lines[OCTET_ROWS + REACH][4];

  __device__ __forceinline__ Sums(const Grads& grads, int first_tap)
      : first(first_tap),
        outputs(octets, (K - first + STEP - 1) / STEP),
        pixels(grads, octets) {}

  __device__ __forceinline__ void add(const Grads&, const Plane& weight, const TapRow& taps,
                                      int index) {
    const int column = octets.column + octets.number;
#pragma unroll
    for (int y = 0; y < OCTET_ROWS; ++y) {
      const int line = y + REACH - index * DISTANCE, row = octets.row + y;
      if (index == 0 || y < DISTANCE) pixels.load(lines[line], line);
      unsigned right[2];
      outputs.selector.select(right, tap(weight, taps, row, column, outputs.first),
                              tap(weight, taps, row, column, outputs.second));
      multiply_tiles<Number>(sums[y], lines[line], right);
    }
  }

  __device__ __forceinline__ unsigned tap(const Plane& weight, const TapRow& taps, int row,
                                          int column, const CoveringOutput& output) const {
    const Number* from = taps.at(weight, row, column + output.offset);
    const int number = first + output.index * STEP;
    return bits_of(from[number < K ? number : 0]);
  }

  __device__ __forceinline__ void send(const Plane& result, int top, int left) const {
    put_octets<RESULT_ORDER, S>(result, sums, octets, top, left);
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

  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    const auto fetch_taps = [&](int index) {
      const Taps taps{tap_space[index % 2]};
      const int tap = down.tap + index * STEP;
      if ((IS_BANDED && has_row_of_taps(index)) || tap < K)
        taps.fetch(weight, tap * K, top, left, index * DISTANCE);
      commit_copies();
    };
    Sums<IS_BANDED> sums(grads, right.tap);
    grads.template fetch<FIRST_ORDER>(grad, top - REACH, left);
    fetch_taps(0);
    // Unrolled if sums keep pixels in registers from one row of taps to the next.
#pragma unroll(IS_BANDED ? PHASE_TAPS : 1)
    for (int index = 0; index < PHASE_TAPS; ++index) {
      if (index + 1 < PHASE_TAPS) fetch_taps(index + 1);
      if (index + 1 < PHASE_TAPS) wait_for_copies_but<1>(); else wait_for_copies();
      __syncthreads();
      const int tap = down.tap + index * STEP;
      if ((IS_BANDED && has_row_of_taps(index)) || tap < K)
        sums.add(grads, weight,
                 {{tap_space[index % 2]}, tap * K, top - index * DISTANCE, left}, index);
      __syncthreads();
    }
    sums.send(result, block.top * S + block.phase_row, block.left * S + block.phase_column);
    grad.data += CHANNELS * grad.channel;
    result.data += CHANNELS * result.channel;
  }
}
