// The gradients of a span's weight and bias, by products of banded matrices.
//
// A block has a group, DEPTH_CHUNK of the reduced channels and every gridDim.x-th tile of all
// images. Each of its warps sums over its pixels in registers; the sums of the warps are added in
// shared memory at the end, and written to a place of the block's own.

#pragma once

#include "tap_bands.cuh"
#include "tap_band_block.cuh"
#include "config.cuh"
#include "device.cuh"
#include "matrices.cuh"
#include "problem.cuh"
#include "span_problem.cuh"
#include "span_tile.cuh"

// Sums of 16 channels and a row of taps, and of two rows of taps for the bias.
struct WeightSums {
  float weight[DEPTH_CHUNK / 16][K][4];
  float bias[TAP_LINES / 2][4];
};

// Row DEPTH_CHUNK has those of the bias.
using BlockSums = float[DEPTH_CHUNK + 1][PLACE_ROWS];

constexpr int FETCHED =
    (BandInputs::SIZE + BandGrads::SIZE + TILE_PIXELS * DEPTH_PITCH) * BYTES;
constexpr int SPACE = FETCHED > sizeof(BlockSums) ? FETCHED : sizeof(BlockSums);

// Fetches channels of the reduced images, from `first` on. A thread's pixels are in one column.
__device__ __forceinline__ void fetch_reduced(Storage* reduced, const SpanGradientsProblem& problem,
                                              const Place& place, int first) {
  constexpr int LINES = DepthVector::ROWS_AT_ONCE / COLUMNS;
  static_assert(DepthVector::ROWS_AT_ONCE % COLUMNS == 0, "a thread's pixels are in one column");
  const DepthVector vector;
  const Plane images(problem.reduced, place.image, first, problem.out_height, problem.out_width);
  const int x = place.left + vector.row % COLUMNS, top = place.top + vector.row / COLUMNS;
  const bool exists = images.has_column(x) && vector.has_channels(first);
  const Index offset = images.offset(0, top, x) + vector.d * BYTES;
  const Shared to = shared_address(reduced + vector.row * DEPTH_PITCH + vector.d);
  if (!vector.exists()) return;
#pragma unroll
  for (int start = 0; start < ROWS; start += LINES)
    if (start + LINES <= ROWS || start + vector.row / COLUMNS < ROWS)
      copy_async(to + start * COLUMNS * DEPTH_PITCH * BYTES,
                 images.data + (offset + start * images.row),
                 exists && images.has_row(top + start));
}

// Adds the products of the reduced images and the taps of two octets, from `row` of a unit on.
__device__ __forceinline__ void add_pixels(WeightSums& sums, const OctetWords& first,
                                           const OctetWords& second, const Storage* reduced,
                                           const Unit& unit, int row) {
  const int lane = lane_of_thread();
  // Hidden: with a pointer for each row kept, one more register is needed than there are.
  const int pixel = (unit.row + lane / 16) * COLUMNS + unit.column + lane % 8;
  const Storage* from = reduced + hide(pixel * DEPTH_PITCH) + lane / 8 % 2 * 8;
  const unsigned pair = pair_of(1.0f), ones[4] = {pair, pair, pair, pair};
#pragma unroll
  for (int i = 0; i < DEPTH_CHUNK / 16; ++i) {
    unsigned left[4];
    load_matrices<true>(left, from + row * COLUMNS * DEPTH_PITCH + 16 * i);
#pragma unroll
    for (int line = 0; line < K; ++line)
      multiply_tiles<Storage>(sums.weight[i][line], left, {first[line], second[line]});
  }
#pragma unroll
  for (int line = 0; line < TAP_LINES; line += 2)
    multiply_part(sums.bias[line / 2],
                  {first[line], first[line + 1], second[line], second[line + 1]}, ones, 0);
}

// Adds a warp's sums to those of the block, or starts these with them.
__device__ __forceinline__ void add_warp(BlockSums& block, const WeightSums& sums, bool starts) {
  const BandLane lane;
  const auto add = [&](int d, int place, float value) {
    block[d][place] = starts ? value : block[d][place] + value;
  };
#pragma unroll
  for (int index = 0; index < 4; ++index) {
    const int down = index / 2 * 8, right = index % 2;
#pragma unroll
    for (int i = 0; i < DEPTH_CHUNK / 16; ++i) {
#pragma unroll
      for (int line = 0; line < K; ++line)
        add(16 * i + lane.number + down, line * PLACES + lane.pixel + right,
            sums.weight[i][line][index]);
    }
#pragma unroll
    for (int line = 0; line < TAP_LINES; line += 2)
      if (lane.pixel == 0 && right == 0)
        add(DEPTH_CHUNK, line * PLACES + down + lane.number, sums.bias[line / 2][index]);
  }
}

// Writes the sums of a block, those of the bias with the first channels.
__device__ __forceinline__ void send_block(const BlockSums& block,
                                           const SpanGradientsProblem& problem) {
  const int first = blockIdx.z * DEPTH_CHUNK;
  float* to = static_cast<float*>(problem.sums) +
              (blockIdx.x * static_cast<long long>(problem.groups) + blockIdx.y) * AREA *
                  (DEPTH + 1);
#pragma unroll 1
  for (int item = threadIdx.x; item < K * PLACES * (DEPTH_CHUNK + 1); item += THREADS) {
    const int d = item % (DEPTH_CHUNK + 1), row = item / (DEPTH_CHUNK + 1);
    const int line = row / PLACES, tap = tap_at(row % PLACES);
    const bool is_bias = d == DEPTH_CHUNK, is_there = is_bias ? first == 0 : first + d < DEPTH;
    if (tap >= 0 && is_there)
      to[(line * K + tap) * (DEPTH + 1) + (is_bias ? DEPTH : first + d)] = block[d][row];
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    span_grad_weight(const SpanGradientsProblem problem) {
  __shared__ __align__(16) char space[SPACE];
  Storage* const inputs = reinterpret_cast<Storage*>(space);
  Storage* const grads = inputs + BandInputs::SIZE;
  Storage* const reduced = grads + BandGrads::SIZE;
  BlockSums& block = *reinterpret_cast<BlockSums*>(space);
  Unit unit{{inputs}, {grads}};
  WeightSums sums = {};

  const Place step(problem, gridDim.x);
#pragma unroll 1
  for (Place place(problem, blockIdx.x); place.image < problem.batch; place.move(problem, step)) {
    fetch_band(unit, problem, place, blockIdx.y);
    fetch_reduced(reduced, problem, place, blockIdx.z * DEPTH_CHUNK);
    wait_for_copies();
    __syncthreads();
#pragma unroll 1
    for (int i = 0; i < OWN_UNITS; ++i) {
      if (!move_to(unit, i, problem, place)) continue;
      sum_unit(unit, problem, place,
               [&](const OctetWords& first, const OctetWords& second, int row) {
                 add_pixels(sums, first, second, reduced, unit, row);
               });
    }
    __syncthreads();
  }

#pragma unroll 1
  for (int warp = 0; warp < WARPS; ++warp) {
    if (threadIdx.x / 32 == warp) add_warp(block, sums, warp == 0);
    __syncthreads();
  }
  send_block(block, problem);
}
