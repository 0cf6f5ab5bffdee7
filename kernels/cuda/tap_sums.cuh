// The gradients of the taps of a tile, summed over the channels of a group.
//
// A thread sums the products of one row of taps, for STRIP neighbouring pixels.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "pixels.cuh"
#include "problem.cuh"
#include "tiles.cuh"

constexpr int POSITIONS = ROWS * STRIPS;
constexpr int SUMMING_THREADS = POSITIONS * K;  // the others only fetch

using Pixels = PaddedTile<INPUT_ROWS, INPUT_COLUMNS, S>;
using Grads = PaddedTile<ROWS, COLUMNS>;
constexpr int FETCHED = (Pixels::SIZE + Grads::SIZE) * BYTES;

// What a thread sums: a row of the windows of a strip, whose first pixel is (row, column).
struct Strip {
  int position, window_row, row, column;

  __device__ __forceinline__ Strip()
      : position(threadIdx.x % POSITIONS),
        window_row(threadIdx.x / POSITIONS),
        row(position / STRIPS),
        column(position % STRIPS * STRIP) {}

  __device__ static __forceinline__ bool is_any() {
    return THREADS == SUMMING_THREADS || threadIdx.x < SUMMING_THREADS;
  }
};

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

// Adds the products of a group, whose first channels `grad` and `input` start at, in a tile from
// (top, left) on. The block fetches pixels into `space`, which is free before and after.
__device__ __forceinline__ void add_group(Real (&sums)[STRIP][K], const Strip& strip, Plane grad,
                                          Plane input, int top, int left, int padding,
                                          char* space) {
  const Pixels pixels{reinterpret_cast<Storage*>(space)};
  const Grads grads{pixels.data + Pixels::SIZE};
  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    grads.template fetch<FIRST_ORDER>(grad, top, left);
    pixels.template fetch<SECOND_ORDER>(input, top * S - padding, left * S - padding);
    wait_for_copies();
    __syncthreads();
    // Rolled: unrolled it needs half as many registers again, and fewer blocks fit.
    if (strip.is_any()) {
#pragma unroll 1
      for (int i = 0; i < LANES; ++i) {
        // Neighbouring threads start at different channels, so that they read different banks.
        // Where is found anew for wide elements: kept, it is one register too many.
        const int start = BYTES == 2 ? strip.position : hide(strip.position);
        const int c = (i + start) % LANES * THREAD_CHANNELS;
        add_channels(sums, grads.at(strip.row, strip.column, c),
                     pixels.at(strip.row * S + strip.window_row * D, strip.column * S, c));
      }
    }
    __syncthreads();
    grad.data += CHANNELS * grad.channel;
    input.data += CHANNELS * input.channel;
  }
}
