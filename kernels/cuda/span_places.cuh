// Where the taps that SpanMatrix makes are kept.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "problem.cuh"
#include "span_taps.cuh"
#include "tiles.cuh"

// The places of LINES rows of taps from `line` on, of batches of BATCH_ROWS rows of outputs.
template <class Taps, int LINES, int BATCH_ROWS>
struct TapPlaces {
  const Taps& taps;
  int line;

  // Writes elements j and j + 1 of the rows of taps of output (y, x).
  __device__ __forceinline__ void keep(const unsigned (&pairs)[LINES], int j, int y, int x) const {
    constexpr bool IS_WHOLE = Taps::HEIGHT % BATCH_ROWS == 0;
    const bool has_output =
        (IS_WHOLE || y < Taps::HEIGHT) && (Taps::WIDTH % 8 == 0 || x < Taps::WIDTH);
    const bool is_used = has_output && (Taps::SLOT >= 8 || j < Taps::SLOT);
    if constexpr (Taps::BY_OUTPUT) {
      keep_covering(pairs, j, y, x, is_used);
    } else if (is_used) {
#pragma unroll
      for (int i = 0; i < LINES; ++i)
        if (line + i < Taps::COUNT)
          *reinterpret_cast<unsigned*>(taps.at(line + i, y, x) + j) = pairs[i];
    }
  }

  // Writes them for pixels of as many rows.
  __device__ __forceinline__ void keep_covering(const unsigned (&pairs)[LINES], int j, int y,
                                                int x, bool is_used) const {
    const int row = y - Taps::REACH + line * Taps::DISTANCE;
    const unsigned rows = is_used ? rows_from(row) : 0;
    const Shared to = as_base(shared_address(taps.at(line, row, x) + j));
#pragma unroll
    for (int i = 0; i < LINES; ++i) {
      if (line + i < Taps::COUNT && (rows >> i & 1))
        store_shared(to + i * (ROWS + Taps::DISTANCE) * Taps::PITCH * BYTES, pairs[i]);
    }
  }

  // Bit i says whether a block has the row of pixels first + i * DISTANCE.
  __device__ static __forceinline__ unsigned rows_from(int first) {
    unsigned rows = 0;
    if constexpr (Taps::DISTANCE == 1) {
      constexpr unsigned ALL = (1u << ROWS) - 1;
      rows = first < 0 ? ALL << -first : ALL >> first;
    } else {
#pragma unroll
      for (int i = 0; i < LINES; ++i) {
        const unsigned row = first + i * Taps::DISTANCE;
        rows |= static_cast<unsigned>(row < static_cast<unsigned>(ROWS)) << i;
      }
    }
    return rows;
  }
};
