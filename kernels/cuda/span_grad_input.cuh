// The gradient of the input of an involution whose kernels are those of a span, by tiles.
//
// As in grad_input.cuh a block computes pixels of one phase. It makes all taps that cover them at
// once. Then its sums are computed by tensor cores, or by threads of STRIP neighbours in a phase of
// THREAD_CHANNELS channels.

#pragma once

#include "config.cuh"
#include "covering_bands.cuh"
#include "device.cuh"
#include "phases.cuh"
#include "pixels.cuh"
#include "problem.cuh"
#include "span.cuh"
#include "span_problem.cuh"
#include "span_taps.cuh"
#include "tiles.cuh"

// Bands read taps without bank conflicts in this order.
using Taps = SpanTaps<PHASE_TAPS, REACH, DISTANCE, STEP,
                      Choose<IS_BANDED && (PHASE_TAPS > 4), PairedOrder, OwnOrder>>;

// The taps that cover a strip of pixels in one row of outputs.
struct RowOfTaps {
  const Storage* taps;

  __device__ __forceinline__ bool has(int) const { return true; }
  __device__ __forceinline__ Real operator()(int x, int i, int index) const {
    return to_real(taps[(Taps::BY_OUTPUT ? x : i) * Taps::SLOT + index]);
  }
};

// The taps that cover a warp's pixels.
template <class Taps>
struct CoveringBand {
  static constexpr int TAPS = PHASE_TAPS, STEP = 1, PARTS = 1, PART_COLUMN = 0;
  CoveringOutputs outputs;
  const Storage *first, *second;

  __device__ __forceinline__ CoveringBand(const Taps& taps, const Octets& octets)
      : outputs(octets, PHASE_TAPS),  // those that do not exist are zero
        first(tap(taps, octets, outputs.first)),
        second(tap(taps, octets, outputs.second)) {}

  __device__ static __forceinline__ const Storage* tap(const Taps& taps, const Octets& octets,
                                                       const CoveringOutput& output) {
    return taps.at(0, octets.row, octets.column + octets.number + output.offset) +
           Taps::Order::element_of(output.index);
  }

  __device__ static constexpr int row(int i) { return REACH - i * DISTANCE; }
  __device__ __forceinline__ void load(unsigned (&right)[PARTS][2], int i, int y) const {
    const int row = (i * ROWS + y) * Taps::PITCH;
    outputs.selector.select(right[0], bits_of(first[row]), bits_of(second[row]));
  }
};

// Computes CHANNELS channels of the tile of a phase from (top, left) on.
template <class Grads, class Taps>
__device__ __forceinline__ void compute(const Plane& result, const Grads& grads, const Taps& taps,
                                        const Block<S>& block) {
  if constexpr (IS_BANDED) {
    const Octets octets;
    compute_octets<RESULT_ORDER, S>(result, grads, octets, CoveringBand<Taps>(taps, octets),
                                    block.top * S + block.phase_row,
                                    block.left * S + block.phase_column);
  } else {
    const int position = threadIdx.x / LANES, c = threadIdx.x % LANES * THREAD_CHANNELS;
    const int row = position % ROWS, column = position / ROWS * STRIP;
    Real sums[STRIP][THREAD_CHANNELS] = {};
#pragma unroll(K <= 9 ? PHASE_TAPS : 1)
    for (int index = 0; index < PHASE_TAPS; ++index)
      add_covering_row(sums, grads.at(row + REACH - index * DISTANCE, column, c),
                       RowOfTaps{taps.at(index, row, column)});
#pragma unroll
    for (int i = 0; i < STRIP; ++i) {
      const int y = (block.top + row) * S + block.phase_row;
      const int x = (block.left + column + i) * S + block.phase_column;
      if (result.has(y, x)) put<RESULT_ORDER>(result, c, y, x, sums[i]);
    }
  }
}

extern "C" __global__ void __launch_bounds__(THREADS) span_grad_input(const SpanProblem problem) {
  __shared__ __align__(16) Storage grad_space[Grads::SIZE];
  __shared__ __align__(16) Storage tap_space[Taps::SIZE];
  const Grads grads{grad_space};
  const Taps taps{tap_space};

  const Block<S> block(problem);
  const int channel = block.group * GROUP_WIDTH;
  Plane grad(problem.first, block.image, channel, problem.out_height, problem.out_width);
  const Plane reduced(problem.second, block.image, 0, problem.out_height, problem.out_width);
  Plane result(problem.result, block.image, channel, problem.height, problem.width);

  const Start down = Start::of(block.phase_row, problem.padding);
  const Start right = Start::of(block.phase_column, problem.padding);
  const Corner corner{block.top + down.output - REACH, block.left + right.output - REACH, down.tap,
                      right.tap};
  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    grads.template fetch<FIRST_ORDER>(grad, corner.top, corner.left);
    if (chunk == 0) make_taps(taps, reduced, problem, block.group, corner);
    wait_for_copies();
    __syncthreads();
    compute(result, grads, taps, block);
    __syncthreads();
    grad.data += CHANNELS * grad.channel;
    result.data += CHANNELS * result.channel;
  }
}
