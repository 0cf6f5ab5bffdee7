// The windows of octets of outputs as banded matrices.

#pragma once

#include "bands.cuh"
#include "config.cuh"
#include "device.cuh"
#include "pixels.cuh"
#include "problem.cuh"
#include "tiles.cuh"

// The columns of a window, and their order for bands: element 2 * i has the tap of column i of the
// first part, element 2 * i + 1 that of column i of the second, or of column i + 4 of the only one.
struct WindowColumns {
  static constexpr bool IS_FOR_BANDS = true;
  static constexpr int PARTS = K == 1 ? 1 : S / greatest_divisor(S, D), PART_COLUMN = D % S;
  static constexpr int LAST = (K - 1) * D / S;
  static constexpr bool FIT_BANDS = PARTS == 1 ? LAST < 8 : PARTS == 2 && LAST < 4;

  // K if there is none.
  __device__ static __forceinline__ int tap_at(int element) {
    const int part = PARTS == 1 ? 0 : element % 2;
    const int offset = PARTS == 1 ? element / 2 + element % 2 * 4 : element / 2;
    const int column = offset * S + part * PART_COLUMN;
    return column % D == 0 && column / D < K ? column / D : K;
  }
};

constexpr bool IS_BANDED = HAS_OCTETS && WindowColumns::FIT_BANDS;
using Pixels = Choose<IS_BANDED, OctetTile<INPUT_ROWS, INPUT_COLUMNS, COLUMNS + OCTET, S>,
                      PaddedTile<INPUT_ROWS, INPUT_COLUMNS, S>>;

// Kernels::words(low, high, i, y) gives the taps of a lane in row i of the windows of outputs y:
// the first is the low half of the first word, the second is selected by the digits SECOND, and
// zero by NONE.
template <class Kernels>
struct WindowBand {
  static constexpr int TAPS = K, STEP = S;
  static constexpr int PARTS = WindowColumns::PARTS, PART_COLUMN = WindowColumns::PART_COLUMN;
  const Kernels& kernels;
  Selector one, other;  // of the first part, of the second

  __device__ __forceinline__ WindowBand(const Kernels& kernels, const Octets& octets)
      : kernels(kernels),
        one(octets, digits(octets, 0), PARTS == 1 ? digits(octets, 1) : Kernels::NONE,
            Kernels::NONE),
        other(octets, digits(octets, 1), Kernels::NONE, Kernels::NONE) {}

  __device__ static __forceinline__ unsigned digits(const Octets& octets, int half) {
    if (WindowColumns::tap_at(2 * octets.first() + half) == K) return Kernels::NONE;
    return half ? Kernels::SECOND : 0x10;
  }

  __device__ static constexpr int row(int i) { return i * D; }
  __device__ __forceinline__ void load(unsigned (&right)[PARTS][2], int i, int y) const {
    unsigned low, high;
    kernels.words(low, high, i, y);
    one.select(right[0], low, high);
    if constexpr (PARTS == 2) other.select(right[1], low, high);
  }
};
