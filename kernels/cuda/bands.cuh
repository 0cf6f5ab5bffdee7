// The sums of a tile by tensor cores: pixels times banded matrices of taps.
//
// A warp computes OCTET_ROWS octets of neighbouring results. For one row of taps, the sums of 16
// channels are a product of 16 channels x 16 pixels and 16 pixels x 8 results, whose column n has
// the taps of result n, from row n on, and zeros. At stride S, pixels that are S apart form a part,
// with a product of its own.
//
// Where pixels are not finite, the zeros spread NaN to results whose windows do not contain them.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "pixels.cuh"
#include "problem.cuh"
#include "tiles.cuh"

constexpr int OCTET = 8, OCTET_ROWS = 8;
// Whether a tile has whole warps and whole products.
constexpr bool HAS_OCTETS = HAS_TENSOR_CORES && BYTES == 2 && CHANNELS == 16 && ROWS % 8 == 0 &&
                            COLUMNS % 8 == 0 && 2 * THREADS == ROWS * COLUMNS;

template <class Number>
__device__ __forceinline__ unsigned bits_of(Number number) {
  return number.bits;
}

using OctetSums = float[OCTET_ROWS][4];

// The first of a warp's results, and a lane's part of the matrices.
struct Octets {
  int row, column;
  int number, member;  // lane / 4, which is the number of a result or of a channel, and lane % 4

  __device__ __forceinline__ Octets()
      : row(threadIdx.x / 32 / (COLUMNS / OCTET) * OCTET_ROWS),
        column(threadIdx.x / 32 % (COLUMNS / OCTET) * OCTET),
        number(threadIdx.x % 32 / 4),
        member(threadIdx.x % 4) {}

  // A lane has the rows member, member + 4, member + 8 and member + 12 of column `number`. Of these
  // two neighbours are in the band: `first` and `first + 4` rows below its beginning.
  __device__ __forceinline__ int first() const { return (member - number) & 3; }
  __device__ __forceinline__ int rows_before() const { return (number - member + 3) / 4; }
};

// Which bytes of two words a lane's four elements are, in pairs of digits of select_bytes.
struct Selector {
  unsigned digits;

  __device__ __forceinline__ Selector(const Octets& octets, unsigned first, unsigned second,
                                      unsigned zero) {
    const unsigned others = zero * 0x01010101u, both = (first ^ zero) | (second ^ zero) << 8;
    digits = others ^ both << 8 * octets.rows_before();
  }
  __device__ __forceinline__ void select(unsigned (&words)[2], unsigned low, unsigned high) const {
    words[0] = select_bytes(low, high, digits & 0xffff);
    words[1] = select_bytes(low, high, digits >> 16);
  }
};

// The pixels of a warp, by lines of the tile from the first that its results need on.
template <class Pixels, int STEP>
struct BandPixels {
  const Storage* from;

  __device__ __forceinline__ BandPixels(const Pixels& pixels, const Octets& octets) {
    // Neighbours in a word are pixels x and x + 4.
    const int lane = threadIdx.x % 32;
    const int pixel = octets.column + lane % 8 / 2 + lane % 2 * 4 + lane / 16 * 8;
    from = pixels.at(octets.row * STEP, pixel * STEP, lane / 8 % 2 * 8);
  }

  // Loads 16 channels of 16 pixels of the part that begins in column `part`.
  __device__ __forceinline__ void load(unsigned (&left)[4], int line, int part = 0) const {
    load_matrices<true>(left, from + line * Pixels::PITCH + part * Pixels::Order::PART_SIZE);
  }
};

// Adds the products of all rows of taps.
//
// Band::TAPS rows of taps meet rows of pixels: row i of results y the row y * STEP + row(i). Of the
// STEP parts of pixels PARTS have taps, the second begins in column PART_COLUMN. load(right, i, y)
// returns a lane's elements of the matrices of row i and results y, for each part.
template <class Band, class Pixels>
__device__ __forceinline__ void add_bands(OctetSums& sums, const Pixels& pixels,
                                          const Octets& octets, const Band& band) {
  constexpr int STEP = Band::STEP;
  constexpr int ONE = Band::row(0), OTHER = Band::row(Band::TAPS - 1);
  constexpr int LINES = (OCTET_ROWS - 1) * STEP + (ONE < OTHER ? OTHER : ONE) + 1;
  const BandPixels<Pixels, STEP> lines(pixels, octets);
#pragma unroll
  for (int line = 0; line < LINES; ++line) {
    unsigned left[Band::PARTS][4];
#pragma unroll
    for (int part = 0; part < Band::PARTS; ++part)
      lines.load(left[part], line, part * Band::PART_COLUMN);
#pragma unroll
    for (int i = 0; i < Band::TAPS; ++i) {
      const int y = (line - Band::row(i)) / STEP;
      if (line != y * STEP + Band::row(i) || y < 0 || y >= OCTET_ROWS) continue;
      unsigned right[Band::PARTS][2];
      band.load(right, i, y);
#pragma unroll
      for (int part = 0; part < Band::PARTS; ++part)
        multiply_tiles<Storage>(sums[y], left[part], right[part]);
    }
  }
}

// Returns 4 channels of a lane's pixel, of which four lanes have 16.
template <class Number>
__device__ __forceinline__ uint2 gather_pixel(const float (&sums)[4], const Octets& octets) {
  const unsigned low = transpose_matrix(to_pair<Number>(sums[0], sums[1]));
  const unsigned high = transpose_matrix(to_pair<Number>(sums[2], sums[3]));
  // A lane with an odd number selects second words.
  const unsigned own = octets.member % 2 ? 0x7654 : 0x3210;
  const unsigned other = exchange(select_bytes(high, low, own), 1);
  return {select_bytes(low, other, own), select_bytes(other, high, own)};
}

// Writes a warp's results, of a tile whose first one is (top, left) in the plane and the next ones
// STEP_ rows and columns on.
template <int ORDER, int STEP_>
__device__ __forceinline__ void put_octets(const Plane& plane, const OctetSums& sums,
                                           const Octets& octets, int top, int left) {
  const int first_row = top + octets.row * STEP_, first_column = left + octets.column * STEP_;
  if constexpr (ORDER <= PACKED) {
    uint2 words[OCTET_ROWS];
#pragma unroll
    for (int i = 0; i < OCTET_ROWS; ++i) words[i] = gather_pixel<Storage>(sums[i], octets);
    const int channel = octets.member / 2 * 4 + octets.member % 2 * 8;
    const int x = first_column + octets.number * STEP_;
#pragma unroll
    for (int i = 0; i < OCTET_ROWS; ++i) {
      const int y = first_row + i * STEP_;
      if (plane.has(y, x)) *reinterpret_cast<uint2*>(plane.at(0, y, x) + channel) = words[i];
    }
  } else {
#pragma unroll
    for (int part = 0; part < OCTET_ROWS * 4; ++part) {
      const int i = part % 4, y = first_row + part / 4 * STEP_;
      const int x = first_column + (2 * octets.member + i % 2) * STEP_;
      if (plane.has(y, x))
        *plane.at(octets.number + i / 2 * 8, y, x) = to_storage<Storage>(sums[part / 4][i]);
    }
  }
}

// Computes and writes them.
template <int ORDER, int STEP_, class Band, class Pixels>
__device__ __forceinline__ void compute_octets(const Plane& plane, const Pixels& pixels,
                                               const Octets& octets, const Band& band, int top,
                                               int left) {
  OctetSums sums = {};
  add_bands(sums, pixels, octets, band);
  put_octets<ORDER, STEP_>(plane, sums, octets, top, left);
}
