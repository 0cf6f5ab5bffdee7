// A block's taps by tensor cores: outputs times channels, times channels times taps.
//
// A warp computes 8 neighbouring outputs of each of a few pairs of rows, and 8 columns of each row
// of taps, at a time. A sum over channels has no order, so a lane's channels are chosen to be
// neighbours in memory: lane 4 * n + q has those from PART * q on, of the outputs number n and of
// tap n.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "problem.cuh"
#include "span_places.cuh"
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
  // Two pairs share a reading of the weight if that is long and there are registers for both.
  static constexpr bool IS_LONG = DEPTH == 64 || (DEPTH > 64 && (S == 1 || REACH == 0));
  static constexpr int PAIRS = IS_LONG ? 2 : 1, BATCH_ROWS = 2 * PAIRS;
  static constexpr int BATCHES = (Taps::HEIGHT + BATCH_ROWS - 1) / BATCH_ROWS * OCTETS;
  static constexpr int PART = DEPTH <= 16 ? 4 : 8, CHUNK = 4 * PART;  // channels
  // Batches of a warp whose outputs it reads at once: as there are registers.
  static constexpr int AHEAD = DEPTH <= 16 ? 4 : 1;
  static constexpr bool IS_WHOLE = DEPTH % CHUNK == 0;
  static constexpr int EIGHTS = (COUNT + 7) / 8;  // of the columns of taps
  static constexpr int LINES = COUNT * EIGHTS <= 8 ? COUNT : 8 / EIGHTS;  // rows of taps at a time
  // Channels of an output or of a tap, in pairs.
  struct alignas(PART * BYTES) Words {
    unsigned pairs[PART / 2];
  };
  using Starts = Real[LINES][EIGHTS][2];
  using Sums = Real[PAIRS][LINES][EIGHTS][4];
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
    if constexpr (ORDER == ALIGNED) announce(reduced, corner);
#pragma unroll
    for (int line = 0; line < COUNT; line += LINES)
      SpanMatrix{taps, reduced, span, corner, line, lane / 4, lane % 4}.make_lines();
  }

  // Has the L2 cache fetch all outputs: the warps read them one batch after the other.
  __device__ static __forceinline__ void announce(const Plane& reduced, const Corner& corner) {
    constexpr int LINE = 128, PIXEL = DEPTH * BYTES;
    constexpr int PIXELS = PIXEL < LINE ? LINE / PIXEL : 1, PARTS = (PIXEL + LINE - 1) / LINE;
    constexpr int ITEMS = (WIDTH + PIXELS - 1) / PIXELS * PARTS;  // of a row
#pragma unroll 1
    for (int item = threadIdx.x; item < Taps::HEIGHT * ITEMS; item += THREADS) {
      const int y = corner.top + item / ITEMS, x = corner.left + item % ITEMS / PARTS * PIXELS;
      if (reduced.has(y, x))
        prefetch(reduced.data + (reduced.offset(0, y, x) + item % PARTS * LINE));
    }
  }

  __device__ __forceinline__ void make_lines() const {
    Starts starts;
    Masks exist{};
#pragma unroll
    for (int part = 0; part < LINES * EIGHTS * 2; ++part) {
      const int i = part / 2 / EIGHTS, eighth = part / 2 % EIGHTS, odd = part % 2;
      const int j = Taps::Order::tap_at(8 * eighth + 2 * member + odd);
      const int tap = corner.tap<Taps>(line + i, j);
      starts[i][eighth][odd] = tap < 0 ? Real(0) : span.summand(tap);
      exist[i][eighth] |= S > 1 && tap < 0 ? 0 : 0xffffu << 16 * odd;  // at stride 1 all do
    }
#pragma unroll 1
    for (int first = threadIdx.x / 32; first < BATCHES; first += AHEAD * WARPS) {
      Batch batches[AHEAD];
#pragma unroll
      for (int i = 0; i < AHEAD; ++i)
        if (i == 0 || first + i * WARPS < BATCHES) begin(batches[i], first + i * WARPS);
#pragma unroll
      for (int i = 0; i < AHEAD; ++i)
        if (i == 0 || first + i * WARPS < BATCHES) make_batch(batches[i], starts, exist);
    }
  }

  // An output of a lane.
  struct Output {
    const char* from;
    unsigned mask;  // all ones inside the image
  };

  // BATCH_ROWS octets of outputs, one below the other, and a chunk of their channels.
  struct Batch {
    int y, x;
    Output outputs[BATCH_ROWS];
    Words words[BATCH_ROWS];
  };

  __device__ __forceinline__ void begin(Batch& batch, int number_of_batch) const {
    batch.y = number_of_batch / OCTETS * BATCH_ROWS;
    batch.x = number_of_batch % OCTETS * 8 + number;
    const int column = corner.left + batch.x;
#pragma unroll
    for (int i = 0; i < BATCH_ROWS; ++i) {
      const int row = corner.top + batch.y + i;
      const bool inside = reduced.has(row, column);
      batch.outputs[i] = {reduced.data + (inside ? reduced.offset(0, row, column) : 0),
                          inside ? 0xffffffff : 0};
    }
    read_chunk(batch, 0);
  }

  __device__ __forceinline__ void read_chunk(Batch& batch, int d) const {
#pragma unroll
    for (int row = 0; row < BATCH_ROWS; ++row)
      batch.words[row] = read_words(batch.outputs[row].from, reduced.channel, d + member * PART);
  }

  // Makes the taps of a batch.
  __device__ __forceinline__ void make_batch(Batch& batch, const Starts& starts,
                                             const Masks& exist) const {
    Sums sums;
    add<true>(sums, starts, batch, 0);
#pragma unroll(DEPTH <= 3 * CHUNK && PAIRS == 1 ? 2 : 1)
    for (int d = CHUNK; d < DEPTH; d += CHUNK) add<false>(sums, starts, batch, d);
#pragma unroll
    for (int i = 0; i < BATCH_ROWS; ++i)
      keep(sums[i / 2], exist, i % 2, batch.y + i, batch.x);
  }

  // Whether pixels of the block's tile have taps of row line + i, of outputs in `rows` rows from y
  // on. To skip the products is worth its time only if there are many.
  __device__ __forceinline__ bool needs(int i, int y, int rows) const {
    const int row = y + (line + i) * Taps::DISTANCE - REACH;
    return line + i < COUNT && (REACH == 0 || DEPTH < 64 || (row + rows > 0 && row < ROWS));
  }

  // Adds the products of the channels of a chunk, of the first one to where the sums start.
  template <bool IS_FIRST>
  __device__ __forceinline__ void add(Sums& sums, const Starts& starts, Batch& batch,
                                      int d) const {
    const int channel = d + member * PART;
    const unsigned exists = IS_WHOLE || channel < DEPTH ? 0xffffffff : 0;
    if (!IS_FIRST) read_chunk(batch, d);
    unsigned left[PAIRS][PART / 4][4];
#pragma unroll
    for (int row = 0; row < BATCH_ROWS; ++row) {
#pragma unroll
      for (int i = 0; i < PART / 2; ++i)
        left[row / 2][i / 2][i % 2 * 2 + row % 2] =
            batch.words[row].pairs[i] & batch.outputs[row].mask & exists;
    }
#pragma unroll
    for (int i = 0; i < LINES; ++i) {
      if (!needs(i, batch.y, BATCH_ROWS)) continue;
#pragma unroll
      for (int eighth = 0; eighth < EIGHTS; ++eighth) {
        const int j = Taps::Order::tap_at(8 * eighth + number);
        const Words right = read_words(factors(i, j), span.column, channel);
        const Real(&start)[2] = starts[i][eighth];
#pragma unroll
        for (int part = 0; part < PAIRS * PART / 4; ++part) {
          const int pair = part % PAIRS, step = part / PAIRS;
          const unsigned pairs[2] = {right.pairs[2 * step] & exists,
                                     right.pairs[2 * step + 1] & exists};
          Real(&sum)[4] = sums[pair][i][eighth];
          if (IS_FIRST && step == 0) {
            multiply_tiles<Storage>(sum, left[pair][step], pairs,
                                    {start[0], start[1], start[0], start[1]});
          } else {
            multiply_tiles<Storage>(sum, left[pair][step], pairs);
          }
        }
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

  // Writes the taps of an octet of outputs. Outside the image, where the outputs are zero, they are
  // the bias.
  __device__ __forceinline__ void keep(const Real (&sums)[LINES][EIGHTS][4], const Masks& exist,
                                       int half, int y, int x) const {
    const TapPlaces<Taps, LINES, BATCH_ROWS> places{taps, line};
#pragma unroll
    for (int eighth = 0; eighth < EIGHTS; ++eighth) {
      unsigned pairs[LINES];
#pragma unroll
      for (int i = 0; i < LINES; ++i)
        pairs[i] = to_pair<Storage>(sums[i][eighth][2 * half], sums[i][eighth][2 * half + 1]) &
                   exist[i][eighth];
      places.keep(pairs, 8 * eighth + 2 * member, y, x);
    }
  }
};
