// Tiles of pixels in shared memory.

#pragma once

#include "device.cuh"
#include "problem.cuh"
#include "tiles.cuh"

// Neighbouring threads read rows that are STEP apart. Rows are padded so that they begin an odd
// number of pixels apart, modulo the banks, and the threads read different banks.
template <int HEIGHT, int WIDTH, int STEP = 1>
struct PixelTile {
  static constexpr int PADDING = CHANNELS / greatest_divisor(STEP, CHANNELS);
  static constexpr bool IS_EVEN = STEP % 2 == 0 && PADDING * BYTES >= VECTOR_BYTES;
  static constexpr int PITCH = IS_EVEN ? WIDTH * CHANNELS + PADDING : (WIDTH | 1) * CHANNELS;
  static constexpr int SIZE = HEIGHT * PITCH;
  Storage* data;

  __device__ static __forceinline__ int index(int y, int x, int c) {
    return y * PITCH + x * CHANNELS + c;
  }

  __device__ __forceinline__ Storage* at(int y, int x, int c) const {
    return data + index(y, x, c);
  }

  // Fetches the pixels from (top, left) on; zeros outside the plane.
  template <int ORDER>
  __device__ __forceinline__ void fetch(const Plane& plane, int top, int left) const {
    if constexpr (ORDER <= PACKED) {
      fetch_packed(plane, top, left);
    } else if constexpr (ORDER == BY_COLUMN) {
      fetch_columns(plane, top, left);
    } else {
      fetch_channels(plane, top, left);
    }
  }

  __device__ __forceinline__ void fetch_packed(const Plane& plane, int top, int left) const {
    constexpr int PIXEL = CHANNELS * BYTES / VECTOR_BYTES;  // vectors
    const Lines<HEIGHT, WIDTH * PIXEL> lines(plane, top, 0, shared_address(data),
                                             index(1, 0, 0) * BYTES);
    lines.for_each_vector([&](int vector) {
      const int x = left + vector / PIXEL;
      const bool inside = plane.has_column(x);
      const Index offset = x * plane.column + vector % PIXEL * VECTOR_BYTES;
#pragma unroll
      for (int line = 0; line < lines.COUNT; ++line)
        if (lines.has(line))
          copy_async(lines.target[line] + vector * VECTOR_BYTES,
                     plane.data + (lines.offset[line] + offset),
                     inside && plane.has_row(lines.y[line]));
    });
  }

  __device__ __forceinline__ void fetch_columns(const Plane& plane, int top, int left) const {
    constexpr int PACK = CHANNELS * BYTES < VECTOR_BYTES ? CHANNELS : VECTOR_BYTES / BYTES;
    for_each_pixel<HEIGHT, WIDTH>([&](int y, int x) {
      const bool inside = plane.has(top + y, left + x);
#pragma unroll
      for (int c = 0; c < CHANNELS; c += PACK)
        *reinterpret_cast<Pack<PACK>*>(at(y, x, c)) =
            gather<PACK>(plane, c, top + y, left + x, inside);
    });
  }

  __device__ __forceinline__ void fetch_channels(const Plane& plane, int top, int left) const {
#pragma unroll 4
    for (int item = threadIdx.x; item < HEIGHT * WIDTH * CHANNELS; item += THREADS) {
      const int c = item % CHANNELS, y = item / CHANNELS / WIDTH, x = item / CHANNELS % WIDTH;
      const bool inside = plane.has(top + y, left + x);
      *at(y, x, c) = inside ? *plane.at(c, top + y, left + x) : Storage{};
    }
  }
};
