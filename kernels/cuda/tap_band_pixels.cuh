// Tiles of pixels of 16 channels in shared memory, of which products of matrices load 8 at a time.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "problem.cuh"
#include "tiles.cuh"

// Columns that are STEP apart, of one phase, are neighbours. A pixel has two vectors of 8 channels;
// every second quartet of pixels has them in the other order, so that the same vector of any 8
// neighbours lies in 8 groups of banks.
template <int HEIGHT, int WIDTH, int STEP = 1>
struct PhasedPixels {
  static constexpr int LINE = (WIDTH + STEP - 1) / STEP;  // pixels of a phase in a row
  static constexpr int PITCH = STEP * LINE * CHANNELS, SIZE = HEIGHT * PITCH;
  Storage* data;

  // Vector `half` of pixel x of a phase.
  __device__ static __forceinline__ int index(int y, int phase, int x, int half) {
    return y * PITCH + phase * LINE * CHANNELS + x * CHANNELS + (half ^ (x >> 2 & 1)) * 8;
  }

  __device__ __forceinline__ const Storage* at(int y, int phase, int x, int half) const {
    return data + index(y, phase, x, half);
  }

  // Fetches the pixels from (top, left) on; zeros outside the plane. The loop over the rows is not
  // unrolled: the addresses of many copies would take registers from the sums.
  __device__ __forceinline__ void fetch(const Plane& plane, int top, int left) const {
    constexpr int VECTORS = WIDTH * 2, TEAM = team_size(HEIGHT, VECTORS);
    const int first = threadIdx.x % TEAM;
    const Shared target = shared_address(data);
#pragma unroll 1
    for (int y = threadIdx.x / TEAM; y < HEIGHT; y += THREADS / TEAM) {
      const bool has_row = plane.has_row(top + y);
      const Index row = (top + y) * plane.row;
#pragma unroll
      for (int start = 0; start < VECTORS; start += TEAM) {
        const int vector = start + first, x = vector / 2, half = vector % 2;
        if (start + TEAM <= VECTORS || vector < VECTORS)
          copy_async(target + index(y, x % STEP, x / STEP, half) * BYTES,
                     plane.data + (row + (left + x) * plane.column + half * VECTOR_BYTES),
                     has_row && plane.has_column(left + x));
      }
    }
  }
};
