// The gradient of a span's reduced images, by products of banded matrices.
//
// A block computes DEPTH_CHUNK channels of a tile of pixels, and sums over all groups in registers.
// The gradients of the taps exist in registers, rounded to the storage type.

#pragma once

#include "tap_bands.cuh"
#include "tap_band_block.cuh"
#include "config.cuh"
#include "device.cuh"
#include "matrices.cuh"
#include "problem.cuh"
#include "span_problem.cuh"
#include "span_tile.cuh"

// Sums of two octets of pixels and 8 channels, for all of a unit.
using ReducedSums = float[UNIT_ROWS / 2][DEPTH_CHUNK / 8][4];

// Fetches the factors of a group: a row for each place of a tap. A thread's rows have one place.
__device__ __forceinline__ void fetch_factors(Storage* weight, const SpanGradientsProblem& problem,
                                              int group, int first) {
  constexpr int LINES = DepthVector::ROWS_AT_ONCE / PLACES;
  static_assert(DepthVector::ROWS_AT_ONCE % PLACES == 0, "a thread's rows have one place");
  const DepthVector vector;
  const int tap = tap_at(vector.row % PLACES);
  const bool exists = tap >= 0 && vector.has_channels(first);
  const Storage* from = static_cast<const Storage*>(problem.weight.data) +
                        (static_cast<long long>(group) * AREA + max(tap, 0)) * DEPTH;
  const Shared to = shared_address(weight + vector.row * DEPTH_PITCH + vector.d);
  if (!vector.exists()) return;
#pragma unroll
  for (int start = 0; start < TAP_LINES; start += LINES) {
    const int line = start + vector.row / PLACES;
    const bool inside = exists && line < K;
    if (start + LINES <= TAP_LINES || line < TAP_LINES)
      copy_async(to + start * PLACES * DEPTH_PITCH * BYTES,
                 from + (inside ? line * K * DEPTH + first + vector.d : 0), inside);
  }
}

// Adds the products of a group's taps and its factors.
__device__ __forceinline__ void add_taps(ReducedSums& sums, const TapWords& words,
                                         const Storage* weight) {
  const int lane = lane_of_thread();
  const Storage* from = weight + lane % 16 * DEPTH_PITCH + lane / 16 * 8;
#pragma unroll
  for (int line = 0; line < TAP_LINES; line += 2) {
    unsigned left[UNIT_ROWS / 2][4];
#pragma unroll
    for (int i = 0; i < UNIT_ROWS * 2; ++i) {
      const int own = line + i % 4 / 2;
      left[i / 4][i % 4] = own < K ? transpose_matrix(words[i / 4 * 2 + i % 2][own]) : 0;
    }
#pragma unroll
    for (int eight = 0; eight < DEPTH_CHUNK / 8; eight += 2) {
      unsigned right[4];
      load_matrices<true>(right, from + line * PLACES * DEPTH_PITCH + 8 * eight);
#pragma unroll
      for (int i = 0; i < UNIT_ROWS; ++i)
        multiply_part(sums[i / 2][eight + i % 2], left[i / 2], right, i % 2 * 2);
    }
  }
}

// Writes the sums of a unit.
__device__ __forceinline__ void send_sums(const ReducedSums& sums, const Unit& unit,
                                          const SpanGradientsProblem& problem, const Place& place,
                                          int first) {
  const Plane result(problem.result, place.image, first, problem.out_height, problem.out_width);
  const BandLane lane;
  const int x = place.left + unit.column + lane.number;
#pragma unroll
  for (int row = 0; row < UNIT_ROWS; ++row) {
    const int y = place.top + unit.row + row;
    if (!result.has(y, x)) continue;
    Storage* to = result.at(0, y, x) + lane.pixel;
#pragma unroll
    for (int eight = 0; eight < DEPTH_CHUNK / 8; ++eight) {
      const float* pair = sums[row / 2][eight] + row % 2 * 2;
      if (DEPTH % DEPTH_CHUNK == 0 || first + 8 * eight < DEPTH)
        *reinterpret_cast<unsigned*>(to + 8 * eight) = to_pair<Storage>(pair[0], pair[1]);
    }
  }
}

// For few channels the compiler would spill registers to fit a fifth block on an A100. 0 says
// nothing.
#if DEPTH_CHUNK <= 16 && __CUDA_ARCH__ < 900
constexpr int LEAST_BLOCKS = 512 / THREADS;
#else
constexpr int LEAST_BLOCKS = 0;
#endif

extern "C" __global__ void __launch_bounds__(THREADS, LEAST_BLOCKS)
    span_grad_reduced(const SpanGradientsProblem problem) {
  __shared__ __align__(16) Storage inputs[BandInputs::SIZE];
  __shared__ __align__(16) Storage grads[BandGrads::SIZE];
  __shared__ __align__(16) Storage weight[PLACE_ROWS * DEPTH_PITCH];
  const Place own(problem, blockIdx.x);
  const int first = blockIdx.y * DEPTH_CHUNK;
  Unit unit{{inputs}, {grads}};
  ReducedSums sums[OWN_UNITS] = {};

#pragma unroll 1
  for (int group = 0; group < problem.groups; ++group) {
    // Computed again for every group, what depends on it needs no registers meanwhile.
    Place place = own;
    place.top = hide(own.top), place.left = hide(own.left);
    fetch_band(unit, problem, place, group);
    fetch_factors(weight, problem, group, first);
    wait_for_copies();
    __syncthreads();
#pragma unroll
    for (int i = 0; i < OWN_UNITS; ++i) {
      if (!move_to(unit, i, problem, place)) continue;
      TapWords words;
      sum_unit(unit, problem, place,
               [&](const OctetWords& first, const OctetWords& second, int row) {
#pragma unroll
                 for (int line = 0; line < TAP_LINES; ++line) {
                   words[row][line] = first[line];
                   words[row + 1][line] = second[line];
                 }
               });
      add_taps(sums[i], words, weight);
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < OWN_UNITS; ++i)
    if (move_to(unit, i, problem, own)) send_sums(sums[i], unit, problem, own, first);
}
