// The taps that a block makes, in shared memory, and the outputs and taps that they belong to.

#pragma once

#include "device.cuh"
#include "problem.cuh"
#include "span_problem.cuh"
#include "tiles.cuh"

// Orders of a row of taps. Element i is tap tap_at(i), if there is such a tap.
struct OwnOrder {
  static constexpr bool IS_FOR_BANDS = false;
  __device__ static __forceinline__ int tap_at(int element) { return element; }
  __device__ static __forceinline__ int element_of(int tap) { return tap; }
};
// For up to 8 taps: neighbours are four taps apart.
struct PairedOrder {
  static constexpr bool IS_FOR_BANDS = true;
  __device__ static __forceinline__ int tap_at(int element) {
    return element / 2 + element % 2 * 4;
  }
  __device__ static __forceinline__ int element_of(int tap) { return tap % 4 * 2 + tap / 4; }
};

// For each pixel of a block's tile COUNT_ x COUNT_ taps: those of one kernel, or, for the gradient
// of the input, those by which outputs cover the pixel. Tap (i, j) of pixel (y, x) then belongs to
// output (y + REACH_ - i * DISTANCE_, x + REACH_ - j * DISTANCE_) of HEIGHT x WIDTH outputs. From a
// tap to the next the kernel has STEP_ taps. In 16 bits a row of taps is kept by the column of the
// output, whose taps are then neighbours, else by that of the pixel. Only SpanMatrix keeps them in
// another order than their own, and any number where there is no tap.
template <int COUNT_, int REACH_, int DISTANCE_, int STEP_, class Order_ = OwnOrder>
struct SpanTaps {
  using Order = Order_;
  static constexpr int COUNT = COUNT_, REACH = REACH_, DISTANCE = DISTANCE_, STEP = STEP_;
  static constexpr int HEIGHT = ROWS + REACH, WIDTH = COLUMNS + REACH;
  static constexpr bool BY_OUTPUT = DISTANCE > 0 && BYTES == 2;
  // Elements of a row of taps: 16-bit ones are read as whole vectors.
  static constexpr bool IS_SHORT = COUNT <= 4 && !Order::IS_FOR_BANDS;
  static constexpr int SLOT = BYTES != 2 ? COUNT : IS_SHORT ? 4 : round_up(COUNT, 8);
  // Threads of neighbouring rows read different banks: an odd number of slots, or one word more
  // than the banks have.
  static constexpr int PITCH = BY_OUTPUT ? 2 * (round_up(WIDTH * SLOT / 2 - 1, 32) + 1)
                                         : (COLUMNS | 1) * SLOT;
  static constexpr int SIZE = COUNT * ROWS * PITCH;
  Storage* data;

  // Row i of the taps of a pixel's row y and of column x.
  __device__ __forceinline__ Storage* at(int i, int y, int x) const {
    return data + (i * ROWS + y) * PITCH + x * SLOT;
  }

  // Writes tap (i, j) of the output (y, x), if a pixel of the tile has it.
  __device__ __forceinline__ void put(int i, int j, int y, int x, Storage tap) const {
    const int row = y - REACH + i * DISTANCE, column = BY_OUTPUT ? x : x - REACH + j * DISTANCE;
    const bool has_row = static_cast<unsigned>(row) < static_cast<unsigned>(ROWS);
    const bool has_column = 0 <= column && column < (BY_OUTPUT ? WIDTH : COLUMNS);
    if (has_row && has_column) at(i, row, column)[j] = tap;
  }
};

// A row of taps of one pixel, in registers if the elements have 16 bits.
template <class Taps, int BYTES_OF_ELEMENT>
struct SpanRow {
  const Storage* taps;

  __device__ __forceinline__ void load(const Storage* from) { taps = from; }
  __device__ __forceinline__ Real operator[](int j) const { return to_real(taps[j]); }
};
template <class Taps>
struct SpanRow<Taps, 2> {
  Pack<Taps::SLOT> taps;

  __device__ __forceinline__ void load(const Storage* from) {
    taps = *reinterpret_cast<const Pack<Taps::SLOT>*>(from);
  }
  __device__ __forceinline__ Real operator[](int j) const { return to_real(taps.values[j]); }
};

// The span of one group.
struct Span {
  const char* weight;
  const Storage* bias;  // null if there is none
  long long row, column;

  __device__ Span(const SpanProblem& problem, int group)
      : weight(static_cast<const char*>(problem.weight.data) +
               group * K * K * problem.weight.row),
        bias(static_cast<const Storage*>(problem.bias)),
        row(problem.weight.row),
        column(problem.weight.column) {
    if (bias) bias += group * K * K;
  }

  __device__ __forceinline__ const char* factors(int tap) const { return weight + tap * row; }
  __device__ __forceinline__ Real summand(int tap) const {
    return bias ? to_real(bias[tap]) : Real(0);
  }
};

// The first of a tile's outputs, and the first of the taps.
struct Corner {
  int top, left;
  int tap_row, tap_column;

  // The number in a kernel of tap (i, j); negative if there is none.
  template <class Taps>
  __device__ __forceinline__ int tap(int i, int j) const {
    const int row = tap_row + i * Taps::STEP, column = tap_column + j * Taps::STEP;
    return j < Taps::COUNT && row < K && column < K ? row * K + column : -1;
  }
};

// Reads COUNT elements, `step` bytes apart, or as vectors if they are contiguous and aligned.
template <int ORDER, int COUNT>
__device__ __forceinline__ Pack<COUNT> read(const char* from, long long step, int count) {
  Pack<COUNT> pack{};
  if constexpr (ORDER == ALIGNED) {
    if (count > 0) pack = *reinterpret_cast<const Pack<COUNT>*>(from);
  } else {
#pragma unroll
    for (int i = 0; i < COUNT; ++i)
      if (i < count) pack.values[i] = *reinterpret_cast<const Storage*>(from + i * step);
  }
  return pack;
}
