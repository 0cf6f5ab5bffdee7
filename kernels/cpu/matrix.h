// Loops over a matrix of pixels by channels, in float32 or bfloat16, that memory limits.
//
// The matrix is divided into blocks of rows that depend on its shape alone, and a block into strips
// of a few rows, whose channels are read a vector at a time.

#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>

#include "vectors.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace {

constexpr int kWidth = kVectorBytes / sizeof(float);
constexpr int kStrip = 4;         // rows that are summed in registers
constexpr int kWritingStrip = 2;  // the same if a result is written too
constexpr int64_t kBytesAhead = 8 << 10;  // farther than the hardware prefetches
constexpr int64_t kBigBytes = 8 << 20;    // results of this size do not fit in a cache
constexpr int64_t kLineBytes = 64;

// The vector types of kLanes neighbouring channels.
template <int kLanes>
struct Lanes {
  static constexpr int kCount = kLanes;
  typedef float Float __attribute__((vector_size(4 * kLanes)));
  typedef uint32_t Word __attribute__((vector_size(4 * kLanes)));
  typedef uint16_t Half __attribute__((vector_size(2 * kLanes)));
};

template <class L>
inline typename L::Float load(const float* from) {
  typename L::Float value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class L>
inline typename L::Float load(const bfloat16* from) {
  typename L::Half half;
  std::memcpy(&half, from, sizeof half);
  return (typename L::Float)(__builtin_convertvector(half, typename L::Word) << 16);
}

template <class L>
inline void store(float* to, typename L::Float value) {
  std::memcpy(to, &value, sizeof value);
}

// Rounds to nearest, ties to even; NaN stays NaN. The AVX-512 instruction treats denormals as zero.
template <class L>
inline typename L::Half round_to_half(typename L::Float value) {
#if defined(__AVX512BF16__)
  if constexpr (L::kCount == 16) return (typename L::Half)_mm512_cvtneps_pbh((__m512)value);
#endif
  const auto word = (typename L::Word)value;
  const auto rounded = word + 0x7fffu + ((word >> 16) & 1u);
  const typename L::Word bits = value != value ? word | 0x400000u : rounded;
  return __builtin_convertvector(bits >> 16, typename L::Half);
}

template <class L>
inline typename L::Float encode(typename L::Float value, const float*) {
  return value;
}

template <class L>
inline typename L::Half encode(typename L::Float value, const bfloat16*) {
  return round_to_half<L>(value);
}

// Writes past the caches; a plain store would first read the line that it overwrites.
template <class Vector>
inline void stream(void* to, Vector value) {
#if defined(__AVX512F__)
  if constexpr (sizeof value == 64) return _mm512_stream_si512((__m512i*)to, (__m512i)value);
#endif
#if defined(__AVX__)
  if constexpr (sizeof value == 32) return _mm256_stream_si256((__m256i*)to, (__m256i)value);
#endif
#if defined(__SSE2__)
  if constexpr (sizeof value == 16) return _mm_stream_si128((__m128i*)to, (__m128i)value);
#endif
  std::memcpy(to, &value, sizeof value);
}

// The matrices of one call.
template <class T>
struct Layout {
  int64_t rows, channels, block_rows, blocks, ahead;

  Layout(int64_t all_rows, int64_t all_channels)
      : rows(all_rows),
        channels(all_channels),
        block_rows(std::clamp<int64_t>(rows / 256, 32, 512)),
        blocks((rows + block_rows - 1) / block_rows),
        ahead((kStrip + kBytesAhead / int64_t(channels * sizeof(T))) * channels) {}

  // Reads a value and prefetches one of later rows.
  template <class L>
  typename L::Float read(const T* from) const {
    __builtin_prefetch(from + ahead);
    return load<L>(from);
  }

  // Whether to write a matrix past the caches, which needs whole cache lines.
  bool streams(const void* to) const {
    const int64_t row_bytes = channels * sizeof(T);
    return rows * row_bytes >= kBigBytes && row_bytes % kLineBytes == 0 &&
           reinterpret_cast<uintptr_t>(to) % kLineBytes == 0;
  }

  template <class L>
  static void write(T* to, typename L::Float value, bool streaming) {
    const auto encoded = encode<L>(value, to);
    streaming ? stream(to, encoded) : void(std::memcpy(to, &encoded, sizeof encoded));
  }
};

// Runs body(index) for all indices, a contiguous range in each thread.
template <class Body>
void for_all(int threads, int64_t count, Body body) {
  threads = int(std::min<int64_t>(threads, count));
#pragma omp parallel num_threads(threads)
  {
    const int64_t id = omp_get_thread_num(), team = omp_get_num_threads();
    for (int64_t i = count * id / team; i < count * (id + 1) / team; ++i) body(i);
#if defined(__SSE2__)
    _mm_sfence();  // makes streamed values visible to the other threads
#endif
  }
}

// Runs body(lanes, channel) over all channels: vectors first, then single channels.
template <class Body>
inline void for_channels(int64_t channels, Body body) {
  int64_t c = 0;
  for (; c + kWidth <= channels; c += kWidth) body(Lanes<kWidth>(), c);
  for (; c < channels; ++c) body(Lanes<1>(), c);
}

// Runs body(lanes, number of rows, position of the first value, channel) over a block, in strips of
// kRows rows, then of single rows.
template <int kRows, class T, class Body>
inline void for_strips(const Layout<T>& layout, int64_t block, Body body) {
  int64_t row = block * layout.block_rows;
  const int64_t last = std::min(layout.rows, row + layout.block_rows);
  const auto strip = [&](auto height) {
    for_channels(layout.channels, [&](auto lanes, int64_t c) {
      body(lanes, height, row * layout.channels + c, c);
    });
    row += height();
  };
  while (row + kRows <= last) strip(std::integral_constant<int, kRows>());
  if constexpr (kRows > 1)
    while (row < last) strip(std::integral_constant<int, 1>());
}

// Two sums over the rows for each channel, block by block.
class Sums {
 public:
  Sums(int64_t blocks, int64_t channels)
      : blocks_(blocks), channels_(channels), values_(new float[2 * blocks * channels]) {}

  void clear(int64_t block) {
    std::fill_n(values_.get() + 2 * block * channels_, 2 * channels_, 0.0f);
  }

  template <class L>
  void add(int64_t block, int64_t c, typename L::Float first, typename L::Float second) {
    float* at = values_.get() + 2 * block * channels_ + c;
    store<L>(at, load<L>(at) + first);
    store<L>(at + channels_, load<L>(at + channels_) + second);
  }

  // Runs body(c, first sum, second sum) for every channel.
  template <class Body>
  void total(int threads, Body body) const {
    for_all(threads, (channels_ + kChunk - 1) / kChunk, [&](int64_t chunk) {
      const int64_t first = chunk * kChunk, width = std::min(kChunk, channels_ - first);
      double sums[2][kChunk] = {};
      for (int64_t block = 0; block < blocks_; ++block)
        for (int which = 0; which < 2; ++which) {
          const float* from = values_.get() + (2 * block + which) * channels_ + first;
          for (int64_t i = 0; i < width; ++i) sums[which][i] += from[i];
        }
      for (int64_t i = 0; i < width; ++i) body(first + i, sums[0][i], sums[1][i]);
    });
  }

 private:
  static constexpr int64_t kChunk = 64;
  int64_t blocks_, channels_;
  std::unique_ptr<float[]> values_;  // uninitialised: each thread clears its blocks
};

}  // namespace
