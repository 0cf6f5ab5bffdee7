// The gradients of the taps of a group of 16 channels, by products of banded matrices.
//
// For 8 neighbouring pixels of the output and a row of their windows, one product has the sums
// over the channels of 16 neighbouring pixels of the input, times the gradient of each of the 8.
// Sum (k, p) belongs to place k - p of pixel p; sums outside of the places 0 to 7 are dropped. At
// larger strides the columns of the input are divided into phases, each with a product of its own.
// The taps of a phase have consecutive places: its pixels are taken from so many columns before.

#pragma once

#include "tap_band_pixels.cuh"
#include "config.cuh"
#include "device.cuh"
#include "matrices.cuh"
#include "problem.cuh"
#include "tiles.cuh"

constexpr int PLACES = 8;                        // of a row of taps
constexpr int TAP_LINES = K + K % 2;             // rows of taps, and perhaps one of zeros
constexpr int UNIT_ROWS = 4;                     // rows of 8 pixels that a warp computes at a time
constexpr int UNIT_COLUMNS = COLUMNS / 8, UNITS = ROWS / UNIT_ROWS * UNIT_COLUMNS;
constexpr int UNIT_INPUT_ROWS = (UNIT_ROWS - 1) * S + (K - 1) * D + 1;

using BandInputs = PhasedPixels<INPUT_ROWS, INPUT_COLUMNS, S>;
using BandGrads = PhasedPixels<ROWS, COLUMNS>;

__device__ constexpr int phase_of(int tap) { return tap * D % S; }

// Returns how many places the taps of a phase have.
__device__ constexpr int places_of(int phase) {
  int count = 0;
  for (int tap = 0; tap < K; ++tap)
    if (phase_of(tap) == phase) count = tap * D / S + 1;
  return count;
}

__device__ constexpr int first_place(int phase) {
  int place = 0;
  for (int i = 0; i < phase; ++i) place += places_of(i);
  return place;
}

__device__ constexpr int place_of(int tap) { return first_place(phase_of(tap)) + tap * D / S; }

static_assert(GROUP_WIDTH == 16 && CHANNELS == 16, "a product sums 16 channels");
static_assert(first_place(S) <= PLACES && K <= PLACES, "the taps of a row have places");
static_assert(ROWS % UNIT_ROWS == 0 && COLUMNS % 8 == 0, "whole units");

// Returns the tap of a row that has a place, or -1.
__device__ __forceinline__ int tap_at(int place) {
  if constexpr (S == 1 && D == 1) return place < K ? place : -1;
  int found = -1;
#pragma unroll
  for (int tap = 0; tap < K; ++tap)
    if (place == place_of(tap)) found = tap;
  return found;
}

// The gradients of the taps of 8 neighbouring pixels, and of as many in each row of a unit. Of each
// row of taps a lane has those with place lane / 4, of pixels lane % 4 * 2 and the next one.
using OctetWords = unsigned[TAP_LINES];
using TapWords = OctetWords[UNIT_ROWS];

// What a lane keeps of each product, of two neighbouring pixels.
struct BandLane {
  int number = lane_of_thread() / 4, pixel = lane_of_thread() % 4 * 2;

  // The place of a pixel's sum that a lane keeps, and the lane that wants it.
  __device__ __forceinline__ int place(int next) const { return (number - pixel - next) & 7; }
  __device__ __forceinline__ int source(int next) const {
    return ((number + pixel + next) & 7) * 4 + pixel / 2;
  }

  // Chooses among the sums of the phases.
  template <class Sums>
  __device__ __forceinline__ float choose(const Sums (&sums)[S], int next) const {
    float value = 0;
#pragma unroll
    for (int phase = 0; phase < S; ++phase) {
      if (places_of(phase) == 0) continue;
      const float mine = number < pixel + next ? sums[phase][2 + next] : sums[phase][next];
      if (first_place(phase) == 0 || place(next) >= first_place(phase)) value = mine;
    }
    return value;
  }

  // Exchanges the sums of two rows of taps, so that a lane has those of one place. A mask is zero
  // where there is no pixel or no tap.
  __device__ __forceinline__ void collect(unsigned& word, unsigned& next_word,
                                           const float (&row)[2], const float (&next_row)[2],
                                           unsigned mask) const {
    const unsigned low = shuffle(to_pair<Storage>(row[0], next_row[0]), source(0));
    const unsigned high = shuffle(to_pair<Storage>(row[1], next_row[1]), source(1));
    word = select_bytes(low, high, 0x5410) & mask;
    next_word = select_bytes(low, high, 0x7632) & mask;
  }
};

// The matrices of a unit, whose first pixel is (row, column) of the tile.
struct Unit {
  BandInputs inputs;
  BandGrads grads;
  int row, column;

  // Loads the gradients of UNIT_ROWS octets, two at a time.
  __device__ __forceinline__ void load_grads(unsigned (&right)[UNIT_ROWS / 2][4]) const {
    const int lane = lane_of_thread();
#pragma unroll
    for (int i = 0; i < UNIT_ROWS / 2; ++i)
      load_matrices<false>(
          right[i], grads.at(row + 2 * i + lane / 16, 0, column + lane % 8, lane / 8 % 2));
  }

  // Where a lane finds its pixel of the input's first row. Pixels beyond the ends of a row, where
  // any others stand for them, belong to sums that are dropped.
  __device__ __forceinline__ const Storage* first_input(int phase) const {
    const int lane = lane_of_thread();
    const int x = column + lane % 16 - first_place(phase);
    return inputs.at(row * S, phase, min(max(x, 0), BandInputs::LINE - 1), lane / 16);
  }

  // Sums the gradients of the taps, and calls visit(first, second, row) with those of two octets,
  // from `row` on, as soon as they are complete: fewer are in registers then.
  template <class Visit>
  __device__ __forceinline__ void sum(const unsigned (&masks)[UNIT_ROWS],
                                      const Visit& visit) const {
    unsigned right[UNIT_ROWS / 2][4];
    load_grads(right);
    const Storage* from[S];
#pragma unroll
    for (int phase = 0; phase < S; ++phase) from[phase] = first_input(phase);
    const BandLane lane;
    TapWords words;
    float values[UNIT_ROWS][TAP_LINES][2] = {};
#pragma unroll
    for (int y = 0; y < UNIT_INPUT_ROWS; ++y) {
      unsigned left[S][4];
#pragma unroll
      for (int phase = 0; phase < S; ++phase)
        if (is_read(y) && places_of(phase))
          load_matrices<false>(left[phase], from[phase] + y * BandInputs::PITCH);
#pragma unroll
      for (int pair = 0; pair < UNIT_ROWS * K; ++pair) {
        const int octet = pair / K, line = pair % K;
        if (octet * S + line * D != y) continue;
        multiply(values[octet][line], lane, left, right[octet / 2], octet % 2 * 2);
        const int even = line / 2 * 2;
        if (line % 2 || line == K - 1)
          lane.collect(words[octet][even], words[octet][even + 1], values[octet][even],
                        values[octet][even + 1], masks[octet]);
        if (even == K - 1) words[octet][even + 1] = 0;
      }
#pragma unroll
      for (int octet = 0; octet < UNIT_ROWS; octet += 2)
        if (y == (octet + 1) * S + (K - 1) * D) visit(words[octet], words[octet + 1], octet);
    }
  }

  __device__ static __forceinline__ bool is_read(int y) {
    for (int pair = 0; pair < UNIT_ROWS * K; ++pair)
      if (pair / K * S + pair % K * D == y) return true;
    return false;
  }

  __device__ static __forceinline__ void multiply(float (&values)[2], const BandLane& lane,
                                                  const unsigned (&left)[S][4],
                                                  const unsigned (&right)[4], int first) {
    float sums[S][4] = {};
#pragma unroll
    for (int phase = 0; phase < S; ++phase)
      if (places_of(phase)) multiply_part(sums[phase], left[phase], right, first);
    values[0] = lane.choose(sums, 0);
    values[1] = lane.choose(sums, 1);
  }
};
