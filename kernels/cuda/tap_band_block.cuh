// What the two kernels of a span's gradients by banded matrices share: chunks of the reduced
// channels, and the division of a tile among the warps of a block.

#pragma once

#include "tap_bands.cuh"
#include "config.cuh"
#include "device.cuh"
#include "problem.cuh"
#include "span_problem.cuh"
#include "span_tile.cuh"
#include "tiles.cuh"

constexpr int WARPS = THREADS / 32, OWN_UNITS = (UNITS + WARPS - 1) / WARPS;
constexpr int PLACE_ROWS = TAP_LINES * PLACES;  // rows of matrices, for all taps
// A vector more than the channels, so that neighbouring rows are in different banks.
constexpr int DEPTH_PITCH = DEPTH_CHUNK + VECTOR_BYTES / BYTES;
static_assert(THREADS % 32 == 0 && DEPTH_CHUNK % 16 == 0, "whole warps and whole matrices");
static_assert(DEPTH * BYTES % VECTOR_BYTES == 0, "channels are fetched in vectors");

// The part of DEPTH_CHUNK channels that a thread fetches, a vector of every few rows.
struct DepthVector {
  static constexpr int PACK = VECTOR_BYTES / BYTES, VECTORS = DEPTH_CHUNK / PACK;
  static constexpr int TEAM = VECTORS > 4 ? 8 : VECTORS > 2 ? 4 : 2;  // threads of a row
  static constexpr int ROWS_AT_ONCE = THREADS / TEAM;
  int row = threadIdx.x / TEAM, d = threadIdx.x % TEAM * PACK;

  // Whether the thread has a vector, and whether that is one of the channels from `first` on.
  __device__ __forceinline__ bool exists() const {
    return VECTORS == TEAM || d < DEPTH_CHUNK;
  }
  __device__ __forceinline__ bool has_channels(int first) const {
    return DEPTH % DEPTH_CHUNK == 0 || first + d < DEPTH;
  }
};
static_assert(DEPTH_CHUNK <= 8 * DepthVector::PACK, "8 threads fetch a row");

// Fetches what a group needs to sum the gradients of its taps.
__device__ __forceinline__ void fetch_band(const Unit& unit, const SpanGradientsProblem& problem,
                                           const Place& place, int group) {
  const int channel = group * GROUP_WIDTH;
  const Plane grad(problem.first, place.image, channel, problem.out_height, problem.out_width);
  const Plane input(problem.second, place.image, channel, problem.height, problem.width);
  unit.grads.fetch(grad, place.top, place.left);
  unit.inputs.fetch(input, place.top * S - problem.padding, place.left * S - problem.padding);
}

// Moves a unit to the warp's i-th one. Returns whether it has pixels of the image.
__device__ __forceinline__ bool move_to(Unit& unit, int i, const SpanGradientsProblem& problem,
                                        const Place& place) {
  const int number = threadIdx.x / 32 + i * WARPS;
  unit.row = number / UNIT_COLUMNS * UNIT_ROWS;
  unit.column = number % UNIT_COLUMNS * 8;
  return number < UNITS && place.top + unit.row < problem.out_height &&
         place.left + unit.column < problem.out_width;
}

// Calls visit(first, second, row) with the gradients of the taps of two octets of a unit, from
// `row` on: zero where there is no tap, or outside the image.
template <class Visit>
__device__ __forceinline__ void sum_unit(const Unit& unit, const SpanGradientsProblem& problem,
                                         const Place& place, const Visit& visit) {
  const BandLane lane;
  const int y = place.top + unit.row, x = place.left + unit.column + lane.pixel;
  const bool exists = tap_at(lane.number) >= 0;
  const unsigned mask = (exists && x < problem.out_width ? 0xffffu : 0) |
                        (exists && x + 1 < problem.out_width ? 0xffff0000u : 0);
  unsigned masks[UNIT_ROWS];
#pragma unroll
  for (int i = 0; i < UNIT_ROWS; ++i) masks[i] = y + i < problem.out_height ? mask : 0;
  unit.sum(masks, visit);
}
