// Tiles of kernels in shared memory.

#pragma once

#include "device.cuh"
#include "problem.cuh"
#include "tiles.cuh"

// COUNT neighbouring taps of each pixel's kernel. They have any alignment, so a pixel's slot has
// the aligned vectors that cover them; the taps start `shift` bytes after its start.
template <int HEIGHT, int WIDTH, int COUNT, int ORDER>
struct TapTile {
  // Vectors of a slot, and the least number of them that hold taps.
  static constexpr int VECTORS = ((COUNT - 1) * BYTES + 2 * VECTOR_BYTES - 1) / VECTOR_BYTES;
  static constexpr int MIN_VECTORS = (COUNT * BYTES + VECTOR_BYTES - 1) / VECTOR_BYTES;
  static constexpr int SLOT = VECTORS * VECTOR_BYTES;
  static constexpr int PACK = VECTOR_BYTES / BYTES, WHOLE = COUNT / PACK * PACK;
  // Rows start 4 banks apart.
  static constexpr int PITCH = round_up(WIDTH * SLOT - 16, 128) + 16;
  static constexpr int SIZE = HEIGHT * PITCH;
  char* data;

  // The taps of the tile's pixel (row, column), which is (y, x) in the plane.
  __device__ __forceinline__ Storage* at(const Plane& plane, int tap, int row, int column, int y,
                                         int x) const {
    return reinterpret_cast<Storage*>(data + row * PITCH + column * SLOT +
                                      shift(plane, tap, y, x));
  }

  // Bytes from the start of a slot to the first of its taps.
  __device__ static __forceinline__ int shift(const Plane& plane, int tap, int y, int x) {
    if constexpr (ORDER > PACKED) return 0;
    const Index offset = (ORDER == ALIGNED ? 0 : plane.offset(0, y, x)) + tap * BYTES;
    return (reinterpret_cast<Address>(plane.data) + offset) % VECTOR_BYTES;
  }

  // Fetches taps from `tap` on, of the pixels from (top - above, left) on; zeros outside.
  __device__ __forceinline__ void fetch(const Plane& plane, int tap, int top, int left,
                                        int above = 0) const {
    if constexpr (ORDER <= PACKED) {
      fetch_packed(plane, tap, top, left, above);
    } else if constexpr (ORDER == BY_COLUMN) {
      fetch_columns(plane, tap, top - above, left);
    } else {
      fetch_channels(plane, tap, top - above, left);
    }
  }

  __device__ __forceinline__ void fetch_packed(const Plane& plane, int tap, int top, int left,
                                               int above) const {
    const Lines<HEIGHT, WIDTH * VECTORS> lines(plane, top, above, shared_address(data), PITCH);
    const Address first = reinterpret_cast<Address>(plane.data) + tap * BYTES -
                          static_cast<Address>(above) * plane.row;
    const Index ahead = first % VECTOR_BYTES;
    const char* from = reinterpret_cast<const char*>(first - ahead);
    lines.for_each_vector([&](int item) {
      const int x = left + item / VECTORS, vector = item % VECTORS * VECTOR_BYTES;
      const bool inside = plane.has_column(x);
#pragma unroll
      for (int line = 0; line < lines.COUNT; ++line) {
        const Index kernel = lines.offset[line] + x * plane.column;
        const Index shifted = ORDER == ALIGNED ? ahead : (ahead + kernel) % VECTOR_BYTES;
        const Index slot = ORDER == ALIGNED ? kernel : ahead + kernel - shifted;
        // The last vector of a slot may hold no taps and be beyond the end of the tensor.
        const bool is_used = MIN_VECTORS == VECTORS || vector < shifted + COUNT * BYTES;
        if (lines.has(line))
          copy_async(lines.target[line] + item * VECTOR_BYTES, from + (slot + vector),
                     inside && is_used && plane.has_row(lines.y[line]));
      }
    });
  }

  __device__ __forceinline__ void fetch_columns(const Plane& plane, int tap, int top,
                                                int left) const {
    for_each_pixel<HEIGHT, WIDTH>([&](int row, int column) {
      const int y = top + row, x = left + column;
      const bool inside = plane.has(y, x);
      Storage* to = at(plane, tap, row, column, y, x);
#pragma unroll(COUNT <= 81 ? COUNT : 1)
      for (int i = 0; i < WHOLE; i += PACK)
        *reinterpret_cast<Pack<PACK>*>(to + i) = gather<PACK>(plane, tap + i, y, x, inside);
#pragma unroll
      for (int i = WHOLE; i < COUNT; ++i) to[i] = gather<1>(plane, tap + i, y, x, inside).values[0];
    });
  }

  __device__ __forceinline__ void fetch_channels(const Plane& plane, int tap, int top,
                                                 int left) const {
#pragma unroll 4
    for (int item = threadIdx.x; item < HEIGHT * WIDTH * COUNT; item += THREADS) {
      const int i = item % COUNT, row = item / COUNT / WIDTH, column = item / COUNT % WIDTH;
      const int y = top + row, x = left + column;
      at(plane, tap, row, column, y, x)[i] =
          plane.has(y, x) ? *plane.at(tap + i, y, x) : Storage{};
    }
  }

  // Writes the taps of the pixels from (top, left) on to the plane.
  __device__ __forceinline__ void send(const Plane& plane, int top, int left) const {
    if constexpr (ORDER <= PACKED && COUNT * BYTES >= 64) {
      send_vectors(plane, top, left);
      send_ends(plane, top, left);
    } else if constexpr (ORDER == BY_COLUMN) {
      send_columns(plane, top, left);
    } else {
      send_channels(plane, top, left);
    }
  }

  // Writes the whole vectors of each pixel's taps.
  __device__ __forceinline__ void send_vectors(const Plane& plane, int top, int left) const {
    constexpr int ITEMS = HEIGHT * WIDTH * VECTORS;
#pragma unroll
    for (int start = 0; start < ITEMS; start += THREADS) {
      const int item = start + threadIdx.x;
      const int row = item / VECTORS / WIDTH, column = item / VECTORS % WIDTH;
      const int first = item % VECTORS * VECTOR_BYTES - shift(plane, 0, top + row, left + column);
      if (start + THREADS > ITEMS && item >= ITEMS) break;
      if (first < 0 || first + VECTOR_BYTES > COUNT * BYTES) continue;
      if (!plane.has(top + row, left + column)) continue;
      const Storage* from = at(plane, 0, row, column, top + row, left + column);
      char* to = plane.data + (plane.offset(0, top + row, left + column) + first);
      *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from + first / BYTES);
    }
  }

  // Writes the taps before a pixel's first whole vector and after its last.
  __device__ __forceinline__ void send_ends(const Plane& plane, int top, int left) const {
    constexpr int MOST = VECTOR_BYTES / BYTES - 1;  // taps at either end
    constexpr int ITEMS = HEIGHT * WIDTH * 2 * MOST;
#pragma unroll
    for (int start = 0; start < ITEMS; start += THREADS) {
      const int item = start + threadIdx.x;
      const int row = item / (2 * MOST) / WIDTH, column = item / (2 * MOST) % WIDTH;
      const int y = top + row, x = left + column;
      const int before = (VECTOR_BYTES - shift(plane, 0, y, x)) % VECTOR_BYTES / BYTES;
      const int behind = (COUNT - before) / PACK * PACK + before;
      const int end = item % (2 * MOST);
      const int tap = end < MOST ? end : behind + end - MOST;
      if (start + THREADS > ITEMS && item >= ITEMS) break;
      if (plane.has(y, x) && tap < (end < MOST ? before : COUNT))
        *plane.at(tap, y, x) = at(plane, 0, row, column, y, x)[tap];
    }
  }

  __device__ __forceinline__ void send_columns(const Plane& plane, int top, int left) const {
    for_each_pixel<HEIGHT, WIDTH>([&](int row, int column) {
      const int y = top + row, x = left + column;
      if (!plane.has(y, x)) return;
      const Storage* from = at(plane, 0, row, column, y, x);
      char* to = reinterpret_cast<char*>(plane.at(0, y, x));
#pragma unroll(COUNT <= 81 ? COUNT : 1)
      for (int tap = 0; tap < COUNT; ++tap) {
        *reinterpret_cast<Storage*>(to) = from[tap];
        to += plane.channel;
      }
    });
  }

  __device__ __forceinline__ void send_channels(const Plane& plane, int top, int left) const {
#pragma unroll 4
    for (int item = threadIdx.x; item < HEIGHT * WIDTH * COUNT; item += THREADS) {
      const int tap = item % COUNT, row = item / COUNT / WIDTH, column = item / COUNT % WIDTH;
      const int y = top + row, x = left + column;
      if (plane.has(y, x)) *plane.at(tap, y, x) = at(plane, 0, row, column, y, x)[tap];
    }
  }
};
