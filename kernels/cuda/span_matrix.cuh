// A block's taps by tensor cores: outputs times channels, times channels times taps.
//
// A warp computes twice 8 neighbouring outputs and 8 columns of each row of taps at a time. A sum
// over channels has no order, so a lane's channels are chosen to be neighbours in memory: lane
// 4 * n + q has those from PART * q on, of the outputs number n and of tap n.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "problem.cuh"
#include "span_problem.cuh"
#include "span_taps.cuh"
#include "tiles.cuh"

template <class Element>
__device__ __forceinline__ unsigned join(Element low, Element high) {
  return low.bits | static_cast<unsigned>(high.bits) << 16;
}

template <class Taps, int ORDER>
struct SpanMatrix {
  static constexpr int COUNT = Taps::COUNT, WIDTH = Taps::WIDTH, REACH = Taps::REACH;
  static constexpr int OCTETS = (WIDTH + 7) / 8, WARPS = THREADS / 32;  // outputs of a row
  static constexpr int BATCHES = (Taps::HEIGHT * OCTETS + 1) / 2;
  static constexpr int PART = DEPTH <= 16 ? 4 : 8, CHUNK = 4 * PART;  // channels
  static constexpr bool IS_WHOLE = DEPTH % CHUNK == 0;
  static constexpr int EIGHTS = (COUNT + 7) / 8;  // of the columns of taps
  static constexpr int LINES = COUNT * EIGHTS <= 8 ? COUNT : 8 / EIGHTS;  // rows of taps at a time
  // Channels of an output or of a tap, in pairs.
  struct alignas(PART * BYTES) Words {
    unsigned pairs[PART / 2];
  };
  using Starts = Real[LINES][EIGHTS][2];
  using Sums = Real[LINES][EIGHTS][4];
  using Masks = unsigned[LINES][EIGHTS];  // of pairs of taps: all ones where there is a tap

  const Taps& taps;
  const Plane& reduced;
  const Span& span;
  const Corner& corner;
  int line;            // the first of LINES rows of taps
  int number, member;  // lane / 4 and lane % 4

  __device__ static __forceinline__ void make(const Taps& taps, const Plane& reduced,
                                              const Span& span, const Corner& corner) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int line = 0; line < COUNT; line += LINES)
      SpanMatrix{taps, reduced, span, corner, line, lane / 4, lane % 4}.make_lines();
  }

  __device__ __forceinline__ void make_lines() const {
    Starts starts;
    Masks exist{};
#pragma unroll
    for (int part = 0; part < LINES * EIGHTS * 2; ++part) {
      const int i = part / 2 / EIGHTS, eighth = part / 2 % EIGHTS, odd = part % 2;
      const int tap = corner.tap<Taps>(line + i, 8 * eighth + 2 * member + odd);
      starts[i][eighth][odd] = tap < 0 ? Real(0) : span.summand(tap);
      exist[i][eighth] |= S > 1 && tap < 0 ? 0 : 0xffffu << 16 * odd;  // at stride 1 all are
    }
#pragma unroll 1
    for (int batch = threadIdx.x / 32; batch < BATCHES; batch += WARPS) make_batch(starts, exist, batch);
  }

  // Makes the taps of two octets of outputs.
  __device__ __forceinline__ void make_batch(const Starts& starts, const Masks& exist,
                                             int batch) const {
    int y[2], x[2];
    unsigned mask[2];  // all ones inside the image
    const char* from[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int octet = 2 * batch + half;
      y[half] = octet / OCTETS, x[half] = octet % OCTETS * 8 + number;
      const int row = corner.top + y[half], column = corner.left + x[half];
      const bool inside = reduced.has(row, column);
      mask[half] = inside ? 0xffffffff : 0;
      from[half] = reduced.data + (inside ? reduced.offset(0, row, column) : 0);
    }
    Sums sums;
#pragma unroll
    for (int part = 0; part < LINES * EIGHTS * 4; ++part)
      sums[part / 4 / EIGHTS][part / 4 % EIGHTS][part % 4] =
          starts[part / 4 / EIGHTS][part / 4 % EIGHTS][part % 2];
#pragma unroll(DEPTH <= 2 * CHUNK ? 2 : 1)
    for (int d = 0; d < DEPTH; d += CHUNK) add(sums, from, mask, d, y[0], y[1]);
#pragma unroll
    for (int half = 0; half < 2; ++half) keep(sums, exist, half, y[half], x[half], mask[half]);
  }

  // Whether a pixel of the block's tile has taps of row line + i, of rows of outputs.
  __device__ __forceinline__ bool needs(int i, int first, int last) const {
    const int down = (line + i) * Taps::DISTANCE - REACH;
    return line + i < COUNT && (REACH == 0 || (last + down >= 0 && first + down < ROWS));
  }

  // Adds the products of the channels of a chunk.
  __device__ __forceinline__ void add(Sums& sums, const char* const (&from)[2],
                                      const unsigned (&mask)[2], int d, int first,
                                      int last) const {
    const int channel = d + member * PART;
    const unsigned exists = IS_WHOLE || channel < DEPTH ? 0xffffffff : 0;
    unsigned left[PART / 4][4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Words words = read_words(from[half], reduced.channel, channel);
#pragma unroll
      for (int i = 0; i < PART / 2; ++i)
        left[i / 2][i % 2 * 2 + half] = words.pairs[i] & mask[half] & exists;
    }
#pragma unroll
    for (int i = 0; i < LINES; ++i) {
      if (!needs(i, first, last)) continue;
#pragma unroll
      for (int eighth = 0; eighth < EIGHTS; ++eighth) {
        const Words right = read_words(factors(i, 8 * eighth + number), span.column, channel);
#pragma unroll
        for (int step = 0; step < PART / 4; ++step)
          multiply_tiles<Storage>(
              sums[i][eighth], left[step],
              {right.pairs[2 * step] & exists, right.pairs[2 * step + 1] & exists});
      }
    }
  }

  // The weight of tap (line + i, j). A place without a tap has that of another one: its products
  // are not used.
  __device__ __forceinline__ const char* factors(int i, int j) const {
    if constexpr (S > 1) return span.factors(max(0, corner.tap<Taps>(line + i, j)));
    // Rows of taps lie at constant distances in a contiguous weight.
    const long long row = ORDER == ALIGNED ? DEPTH * BYTES : span.row;
    return span.weight + (line * K + (j < COUNT ? j : 0)) * row + i * K * row;
  }

  // Reads PART channels in pairs. Those from DEPTH on are 0 or, in ORDER ALIGNED, any.
  __device__ static __forceinline__ Words read_words(const char* from, long long step,
                                                     int channel) {
    if constexpr (ORDER == ALIGNED) {
      const int there = IS_WHOLE || channel < DEPTH ? channel : 0;
      return *reinterpret_cast<const Words*>(from + there * BYTES);
    } else {
      const Pack<PART> pack = read<ORDER, PART>(from + channel * step, step, DEPTH - channel);
      Words words;
#pragma unroll
      for (int i = 0; i < PART / 2; ++i)
        words.pairs[i] = join(pack.values[2 * i], pack.values[2 * i + 1]);
      return words;
    }
  }

  __device__ static __forceinline__ bool has_output(int y, int x) {
    return (2 * BATCHES == Taps::HEIGHT * OCTETS || y < Taps::HEIGHT) &&
           (WIDTH % 8 == 0 || x < WIDTH);
  }

  // Writes the taps of an octet of outputs; zeros outside the image.
  __device__ __forceinline__ void keep(const Sums& sums, const Masks& exist, int half, int y,
                                       int x, unsigned mask) const {
#pragma unroll
    for (int eighth = 0; eighth < EIGHTS; ++eighth) {
      unsigned pairs[LINES];
#pragma unroll
      for (int i = 0; i < LINES; ++i)
        pairs[i] = to_pair<Storage>(sums[i][eighth][2 * half], sums[i][eighth][2 * half + 1]) &
                   exist[i][eighth];
      const int j = 8 * eighth + 2 * member;
      if constexpr (Taps::BY_OUTPUT) {
        keep_covering(pairs, mask, j, y, x);
      } else {
        keep_kernel(pairs, j, y, x);
      }
    }
  }

  // Writes taps j and j + 1 of LINES rows, which one pixel has.
  __device__ __forceinline__ void keep_kernel(const unsigned (&pairs)[LINES], int j, int y,
                                              int x) const {
    if (!has_output(y, x) || (Taps::SLOT < 8 && j >= Taps::SLOT)) return;
#pragma unroll
    for (int i = 0; i < LINES; ++i)
      if (line + i < COUNT) *reinterpret_cast<unsigned*>(taps.at(line + i, y, x) + j) = pairs[i];
  }

  // Writes taps j and j + 1 of LINES rows, which pixels of as many rows have.
  __device__ __forceinline__ void keep_covering(const unsigned (&pairs)[LINES], unsigned mask,
                                                int j, int y, int x) const {
    const int row = y - REACH + line * Taps::DISTANCE;
    const bool has_slot = Taps::SLOT >= 8 || j < Taps::SLOT;
    const unsigned rows = has_slot && has_output(y, x) ? rows_from(row) : 0;
    const Shared to = as_base(shared_address(taps.at(line, row, x) + j));
#pragma unroll
    for (int i = 0; i < LINES; ++i) {
      if (line + i < COUNT && (rows >> i & 1))
        store_shared(to + i * (ROWS + Taps::DISTANCE) * Taps::PITCH * BYTES,
                     pairs[i] & mask);
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
