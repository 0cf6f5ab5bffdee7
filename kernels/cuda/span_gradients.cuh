// The three gradients of a span: of the reduced images, of its weight and of its bias.
//
// The gradients of the taps, which a stored kernel would have in memory, exist a tile at a time in
// shared memory, rounded to the storage type. A block has GROUP_CHUNK groups and every gridDim.x-th
// tile of all images. Over its groups it sums the gradient of the reduced images, in registers;
// over its tiles those of weight and bias, in shared memory. It writes its sums to places of its
// own, which are added later in a fixed order.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "matrices.cuh"
#include "problem.cuh"
#include "span_problem.cuh"
#include "span_tile.cuh"
#include "tap_sums.cuh"
#include "tiles.cuh"

#if RESULT_IS_FLOAT
using Result = float;
#else
using Result = Storage;
#endif

constexpr int WARPS = THREADS / 32;
constexpr int TAP_ROWS = round_up(AREA, 16);  // those from AREA on are zero
constexpr int TAP_COLUMNS = round_up(AREA, 8);
constexpr int DEPTH_COLUMNS = round_up(DEPTH, 16);
// A vector more than the columns, so that neighbouring rows are in different banks.
constexpr int TAP_PITCH = TILE_PIXELS + VECTOR_BYTES / BYTES;
constexpr int DEPTH_PITCH = DEPTH_COLUMNS + VECTOR_BYTES / BYTES;
// Taps begin where their rows of zeros lie behind the pixels that are fetched into the same space.
constexpr int TAPS_BYTES = AREA * TAP_PITCH * BYTES;
constexpr int TAPS_BEGIN = FETCHED > TAPS_BYTES ? round_up(FETCHED - TAPS_BYTES, VECTOR_BYTES) : 0;
constexpr int SPACE = TAPS_BEGIN + TAP_ROWS * TAP_PITCH * BYTES;
constexpr int SIXTEENS = TILE_PIXELS / 16;                  // of pixels
constexpr int OWN_SIXTEENS = (SIXTEENS + WARPS - 1) / WARPS;  // at most, of a warp
static_assert(TILE_PIXELS % 32 == 0 && THREADS % 32 == 0, "whole matrices and whole warps");

using PixelSums = float[OWN_SIXTEENS][DEPTH_COLUMNS / 8][4];
using GroupSums = float[DEPTH + 1][TAP_COLUMNS];  // row DEPTH has those of the bias

template <class Number>
__device__ __forceinline__ void clear(Number* numbers, int count) {
#pragma unroll 1
  for (int i = threadIdx.x; i < count; i += THREADS) numbers[i] = Number{};
}

// Fetches DEPTH elements of each of COUNT rows; `at` returns where a row begins, null for zeros.
template <int COUNT, class At>
__device__ __forceinline__ void fetch_rows(Storage* rows, long long step, const At& at) {
  constexpr int PACK = VECTOR_BYTES / BYTES;
  if constexpr (RESULT_ORDER == ALIGNED) {
    constexpr int VECTORS = DEPTH / PACK;
#pragma unroll 1
    for (int item = threadIdx.x; item < COUNT * VECTORS; item += THREADS) {
      const int row = item / VECTORS, vector = item % VECTORS;
      const char* from = at(row);
      const char* any = static_cast<const char*>(from ? from : at(-1));
      copy_async(shared_address(rows + row * DEPTH_PITCH + vector * PACK),
                 any + vector * VECTOR_BYTES, from != nullptr);
    }
  } else {
#pragma unroll 1
    for (int item = threadIdx.x; item < COUNT * DEPTH; item += THREADS) {
      const int row = item / DEPTH, d = item % DEPTH;
      const char* from = at(row);
      rows[row * DEPTH_PITCH + d] =
          from ? *reinterpret_cast<const Storage*>(from + d * step) : Storage{};
    }
  }
}

// Writes the taps' gradients of a thread to shared memory, zeros for pixels outside the image.
__device__ __forceinline__ void keep_taps(Storage* taps, const Real (&sums)[STRIP][K],
                                          const Strip& strip, const Plane& grad, int top,
                                          int left) {
  bool inside[STRIP];
#pragma unroll
  for (int i = 0; i < STRIP; ++i) inside[i] = grad.has(top + strip.row, left + strip.column + i);
  Storage* to = taps + strip.window_row * K * TAP_PITCH + strip.row * COLUMNS + strip.column;
#pragma unroll
  for (int tap = 0; tap < K; ++tap) {
    Pack<STRIP> pack;
#pragma unroll
    for (int i = 0; i < STRIP; ++i)
      pack.values[i] = inside[i] ? to_storage<Storage>(sums[i][tap]) : Storage{};
    *reinterpret_cast<Pack<STRIP>*>(to + tap * TAP_PITCH) = pack;
  }
}

// Adds a group's part of the gradients of the reduced images.
__device__ __forceinline__ void add_to_pixels(PixelSums& sums, const Storage* taps,
                                              const Storage* weight) {
#pragma unroll
  for (int i = 0; i < OWN_SIXTEENS; ++i) {
    const int sixteen = threadIdx.x / 32 + i * WARPS;
    if (SIXTEENS % WARPS == 0 || sixteen < SIXTEENS)
      multiply_rows<TAP_ROWS / 16, TAP_PITCH, DEPTH_PITCH>(sums[i], taps + 16 * sixteen, weight);
  }
}

// Calls visit(d, column, index) for the elements of a warp's 16 x 8 sums.
template <class Visit>
__device__ __forceinline__ void for_each_sum(const Visit& visit) {
  const int lane = lane_of_thread();
#pragma unroll
  for (int index = 0; index < 4; ++index)
    visit(lane / 4 + index / 2 * 8, lane % 4 * 2 + index % 2, index);
}

// Adds a tile's part of the gradients of the weight and the bias of a group. An element of the
// sums belongs to one thread.
__device__ __forceinline__ void add_to_group(GroupSums& sums, const Storage* taps,
                                             const Storage* reduced) {
#pragma unroll 1
  for (int eight = threadIdx.x / 32; eight < TAP_COLUMNS / 8; eight += WARPS) {
    float products[DEPTH_COLUMNS / 16][4] = {}, totals[4] = {};
    multiply_columns<TILE_PIXELS / 32, DEPTH_PITCH, TAP_PITCH>(
        products, totals, reduced, taps + 8 * eight * TAP_PITCH);
    for_each_sum([&](int row, int column, int index) {
#pragma unroll
      for (int i = 0; i < DEPTH_COLUMNS / 16; ++i)
        if (DEPTH % 16 == 0 || 16 * i + row < DEPTH)
          sums[16 * i + row][8 * eight + column] += products[i][index];
      if (row == 0) sums[DEPTH][8 * eight + column] += totals[index];
    });
  }
}

// Writes the gradients of the reduced images.
__device__ __forceinline__ void send_pixels(const SpanGradientsProblem& problem,
                                            const PixelSums& sums, const Place& place) {
  const Tensor& result = problem.result;
  char* to = static_cast<char*>(result.data) + blockIdx.y * problem.result_chunk +
             place.image * result.batch;
#pragma unroll
  for (int i = 0; i < OWN_SIXTEENS; ++i) {
    const int sixteen = threadIdx.x / 32 + i * WARPS;
    if (SIXTEENS % WARPS != 0 && sixteen >= SIXTEENS) continue;
    for_each_sum([&](int row, int column, int index) {
      const int pixel = 16 * sixteen + row;
      const int y = place.top + pixel / COLUMNS, x = place.left + pixel % COLUMNS;
      if (y >= problem.out_height || x >= problem.out_width) return;
      char* from = to + y * result.row + x * result.column;
#pragma unroll
      for (int eight = 0; eight < DEPTH_COLUMNS / 8; ++eight) {
        const int d = 8 * eight + column;
        if (DEPTH % 16 == 0 || d < DEPTH)
          *reinterpret_cast<Result*>(from + d * result.channel) =
              to_storage<Result>(sums[i][eight][index]);
      }
    });
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    span_gradients(const SpanGradientsProblem problem) {
  __shared__ __align__(16) char space[SPACE];
  __shared__ __align__(16) Storage reduced[TILE_PIXELS * DEPTH_PITCH];
  __shared__ __align__(16) Storage weight[TAP_ROWS * DEPTH_PITCH];
  __shared__ __align__(16) GroupSums group_sums[GROUP_CHUNK];
  Storage* const taps = reinterpret_cast<Storage*>(space + TAPS_BEGIN);
  const int first_group = blockIdx.y * GROUP_CHUNK;
  const Strip strip;

  clear(reinterpret_cast<float*>(group_sums), GROUP_CHUNK * (DEPTH + 1) * TAP_COLUMNS);
  clear(taps + AREA * TAP_PITCH, (TAP_ROWS - AREA) * TAP_PITCH);
  clear(weight + AREA * DEPTH_PITCH, (TAP_ROWS - AREA) * DEPTH_PITCH);

  for (int tile = blockIdx.x; tile < number_of_tiles(problem); tile += gridDim.x) {
    const Place place(problem, tile);
    const Plane images(problem.reduced, place.image, 0, problem.out_height, problem.out_width);
    fetch_rows<TILE_PIXELS>(reduced, images.channel, [&](int pixel) -> const char* {
      const int y = place.top + pixel / COLUMNS, x = place.left + pixel % COLUMNS;
      if (pixel < 0) return images.data;
      return images.has(y, x) ? images.data + images.offset(0, y, x) : nullptr;
    });
    PixelSums pixel_sums = {};
#pragma unroll 1
    for (int chunk = 0; chunk < GROUP_CHUNK; ++chunk) {
      // Computed again for every group, what depends on them needs no registers meanwhile.
      const int top = hide(place.top), left = hide(place.left), zero = hide(0);
      const int group = first_group + chunk, channel = group * GROUP_WIDTH;
      const Plane grad(problem.first, place.image, channel, problem.out_height, problem.out_width);
      const Plane input(problem.second, place.image, channel, problem.height, problem.width);
      const char* factors = static_cast<const char*>(problem.weight.data) +
                            group * AREA * problem.weight.row;
      fetch_rows<AREA>(weight + zero, problem.weight.column,
                       [&](int tap) { return factors + max(tap, 0) * problem.weight.row; });
      Real sums[STRIP][K] = {};
      add_group(sums, strip, grad, input, top, left, problem.padding, space + zero);
      if (strip.is_any()) keep_taps(taps + zero, sums, strip, grad, top, left);
      __syncthreads();
      add_to_pixels(pixel_sums, taps + zero, weight + zero);
      add_to_group(group_sums[chunk], taps + zero, reduced + zero);
      __syncthreads();
    }
    send_pixels(problem, pixel_sums, place);
  }

  // The last barrier came after the last sum: there is at least one tile.
  float* to = static_cast<float*>(problem.sums) +
              (blockIdx.x * static_cast<long long>(problem.groups) + first_group) * AREA *
                  (DEPTH + 1);
#pragma unroll 1
  for (int i = threadIdx.x; i < GROUP_CHUNK * AREA * (DEPTH + 1); i += THREADS) {
    const int d = i % (DEPTH + 1), tap = i / (DEPTH + 1);
    to[i] = group_sums[tap / AREA][d][tap % AREA];
  }
}
