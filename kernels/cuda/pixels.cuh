// Tiles of pixels in shared memory.

#pragma once

#include "device.cuh"
#include "problem.cuh"
#include "tiles.cuh"

// Neighbouring threads read rows that are STEP apart. Rows are padded so that they begin an odd
// number of pixels apart, modulo the banks, and the threads read different banks.
template <int WIDTH, int STEP>
struct PaddedRows {
  static constexpr int FETCHED = WIDTH;  // pixels of a row
  static constexpr int PADDING = CHANNELS / greatest_divisor(STEP, CHANNELS);
  static constexpr bool IS_EVEN = STEP % 2 == 0 && PADDING * BYTES >= VECTOR_BYTES;
  static constexpr int PITCH = IS_EVEN ? WIDTH * CHANNELS + PADDING : (WIDTH | 1) * CHANNELS;

  __device__ static __forceinline__ int vector(int number) { return number; }
  __device__ static __forceinline__ int element(int x, int c) { return x * CHANNELS + c; }
};

// For pixels of two vectors. Those that are STEP apart are neighbours, and eight lanes that read
// the same vector of eight neighbours read it from different banks. Of every STEP-th pixel there
// are PART, a multiple of 8; those from WIDTH on are zero.
template <int WIDTH, int STEP, int PART>
struct OctetRows {
  static constexpr int FETCHED = STEP * PART;
  static constexpr int PITCH = FETCHED * CHANNELS;
  static constexpr int PART_SIZE = PART * CHANNELS;  // elements

  __device__ static __forceinline__ int vector(int number) {
    const int x = number / 2, to = (x % STEP * PART + x / STEP) * 2 + number % 2;
    return to ^ (to >> 3 & 1);
  }
  __device__ static __forceinline__ int element(int x, int c) {
    constexpr int PACK = VECTOR_BYTES / BYTES;
    return vector(2 * x + c / PACK) * PACK + c % PACK;
  }
};

// HEIGHT rows of WIDTH pixels. ROWS_ says where the pixels of a row are.
template <int HEIGHT, int WIDTH, class ROWS_>
struct PixelTile {
  using Order = ROWS_;
  static constexpr int PITCH = ROWS_::PITCH;
  static constexpr int SIZE = HEIGHT * PITCH;
  Storage* data;

  __device__ __forceinline__ Storage* at(int y, int x, int c) const {
    return data + (y * PITCH + ROWS_::element(x, c));
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

  __device__ static __forceinline__ bool has(int x) {
    return ROWS_::FETCHED == WIDTH || x < WIDTH;
  }

  __device__ __forceinline__ void fetch_packed(const Plane& plane, int top, int left) const {
    constexpr int PIXEL = CHANNELS * BYTES / VECTOR_BYTES;  // vectors
    const Lines<HEIGHT, ROWS_::FETCHED * PIXEL> lines(plane, top, 0, shared_address(data),
                                                      PITCH * BYTES);
    lines.for_each_vector([&](int vector) {
      const int x = left + vector / PIXEL;
      const bool inside = has(vector / PIXEL) && plane.has_column(x);
      const Index offset = x * plane.column + vector % PIXEL * VECTOR_BYTES;
#pragma unroll
      for (int line = 0; line < lines.COUNT; ++line)
        if (lines.has(line))
          copy_async(lines.target[line] + ROWS_::vector(vector) * VECTOR_BYTES,
                     plane.data + (lines.offset[line] + offset),
                     inside && plane.has_row(lines.y[line]));
    });
  }

  __device__ __forceinline__ void fetch_columns(const Plane& plane, int top, int left) const {
    constexpr int PACK = CHANNELS * BYTES < VECTOR_BYTES ? CHANNELS : VECTOR_BYTES / BYTES;
    for_each_pixel<HEIGHT, ROWS_::FETCHED>([&](int y, int x) {
      const bool inside = has(x) && plane.has(top + y, left + x);
#pragma unroll
      for (int c = 0; c < CHANNELS; c += PACK)
        *reinterpret_cast<Pack<PACK>*>(at(y, x, c)) =
            gather<PACK>(plane, c, top + y, left + x, inside);
    });
  }

  __device__ __forceinline__ void fetch_channels(const Plane& plane, int top, int left) const {
    constexpr int FETCHED = ROWS_::FETCHED;
#pragma unroll 4
    for (int item = threadIdx.x; item < HEIGHT * FETCHED * CHANNELS; item += THREADS) {
      const int c = item % CHANNELS, y = item / CHANNELS / FETCHED, x = item / CHANNELS % FETCHED;
      const bool inside = has(x) && plane.has(top + y, left + x);
      *at(y, x, c) = inside ? *plane.at(c, top + y, left + x) : Storage{};
    }
  }
};

template <int HEIGHT, int WIDTH, int STEP = 1>
using PaddedTile = PixelTile<HEIGHT, WIDTH, PaddedRows<WIDTH, STEP>>;
template <int HEIGHT, int WIDTH, int PART, int STEP = 1>
using OctetTile = PixelTile<HEIGHT, WIDTH, OctetRows<WIDTH, STEP, PART>>;
