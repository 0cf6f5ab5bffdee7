// The division of the work among blocks and threads.
//
// A block computes ROWS x COLUMNS pixels of one image and group, CHANNELS channels at a time, from
// tiles in shared memory. A tile is channels-last, whatever the layout of the tensor: the layout
// only decides in which order threads fetch the elements.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "problem.cuh"

constexpr int ROWS = TILE_ROWS, COLUMNS = TILE_COLUMNS, CHANNELS = TILE_CHANNELS;
constexpr int CHUNKS = GROUP_WIDTH / CHANNELS;
constexpr int STRIP = STRIP_COLUMNS;  // neighbouring pixels that a thread computes
constexpr int STRIPS = COLUMNS / STRIP, LANES = CHANNELS / THREAD_CHANNELS;
constexpr int VECTOR_BYTES = 16;  // bytes that a thread fetches at once

// The part of the input that the windows of a tile cover, and those of a strip in one row.
constexpr int INPUT_ROWS = (ROWS - 1) * S + (K - 1) * D + 1;
constexpr int INPUT_COLUMNS = (COLUMNS - 1) * S + (K - 1) * D + 1;
constexpr int STRIP_INPUTS = (STRIP - 1) * S + (K - 1) * D + 1;

__device__ constexpr int greatest_divisor(int a, int b) {
  return b ? greatest_divisor(b, a % b) : a;
}
__device__ constexpr int round_up(int value, int unit) { return (value + unit - 1) / unit * unit; }

// The position of a block, in one of PHASES x PHASES interleaved parts of an image.
template <int PHASES>
struct Block {
  int image, group, top, left;
  int phase_row, phase_column;

  // Groups vary fastest, so that blocks that run together fetch neighbours in memory.
  __device__ __forceinline__ explicit Block(const Problem& problem)
      : image(blockIdx.z),
        group(blockIdx.x % static_cast<unsigned>(problem.groups)),
        top(blockIdx.y / PHASES * ROWS),
        left(blockIdx.x / static_cast<unsigned>(problem.groups) / PHASES * COLUMNS),
        phase_row(blockIdx.y % PHASES),
        phase_column(blockIdx.x / static_cast<unsigned>(problem.groups) % PHASES) {}
};

// Returns how many threads should fetch a row of a tile together so that each has least to do.
// Finding the position of a vector in its row costs about as much as fetching it.
__device__ constexpr int team_size(int rows, int vectors) {
  int best = 1, least = 0x7fffffff;
  for (int size = 32; size > 0; size /= 2) {
    const int rounds = (vectors + size - 1) / size;
    const int lines = (rows * size + THREADS - 1) / THREADS;
    if (THREADS % size == 0 && rounds * (lines + 1) < least) {
      best = size;
      least = rounds * (lines + 1);
    }
  }
  return best;
}

// The rows of a tile that a thread fetches, and their places in memory and in shared memory. The
// tile starts in row `top - above` of the plane. Offsets are from `top` on, so that a loop over
// `above` need not compute them again.
template <int HEIGHT, int VECTORS>
struct Lines {
  static constexpr int TEAM = team_size(HEIGHT, VECTORS), TEAMS = THREADS / TEAM;
  static constexpr int COUNT = (HEIGHT + TEAMS - 1) / TEAMS;
  int y[COUNT];
  Index offset[COUNT];
  Shared target[COUNT];

  __device__ __forceinline__ Lines(const Plane& plane, int top, int above, Shared tile, int pitch) {
#pragma unroll
    for (int line = 0; line < COUNT; ++line) {
      y[line] = top - above + row(line);
      offset[line] = (top + row(line)) * plane.row;
      target[line] = tile + row(line) * pitch;
    }
  }

  __device__ static __forceinline__ int row(int line) { return line * TEAMS + threadIdx.x / TEAM; }
  __device__ static __forceinline__ bool has(int line) {
    return (line + 1) * TEAMS <= HEIGHT || row(line) < HEIGHT;
  }

  // Calls visit with the vectors of a row that this thread fetches.
  template <class Visit>
  __device__ __forceinline__ void for_each_vector(Visit visit) const {
#pragma unroll
    for (int start = 0; start < VECTORS; start += TEAM) {
      const int vector = start + threadIdx.x % TEAM;
      if (start + TEAM <= VECTORS || vector < VECTORS) visit(vector);
    }
  }
};

// Divides the pixels of a tile among the threads, those of a row among neighbouring threads.
template <int HEIGHT, int WIDTH, class Visit>
__device__ __forceinline__ void for_each_pixel(Visit visit) {
  constexpr int NEIGHBOURS = WIDTH > 16 ? 32 : WIDTH > 8 ? 16 : WIDTH > 4 ? 8 : 4;
  constexpr int LINE = greatest_divisor(THREADS, NEIGHBOURS), LINES = THREADS / LINE;
  const int row = threadIdx.x / LINE, column = threadIdx.x % LINE;
#pragma unroll(HEIGHT <= 4 * LINES ? 4 : 1)
  for (int y = 0; y < HEIGHT; y += LINES) {
#pragma unroll
    for (int x = 0; x < WIDTH; x += LINE) {
      const bool in_row = x + LINE <= WIDTH || x + column < WIDTH;
      const bool in_column = y + LINES <= HEIGHT || y + row < HEIGHT;
      if (in_row && in_column) visit(y + row, x + column);
    }
  }
}
