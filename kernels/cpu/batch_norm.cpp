// Batch normalisation with shortcut and activation, act(norm(input) + shortcut), and its gradients.
//
// Images in channels_last are a matrix of `rows` pixels times `channels`. Training reads it twice,
// for the statistics and to normalise, and is limited by memory bandwidth. Sums are over blocks of
// rows that depend on the shape alone, in float32 within a block and in float64 across blocks, so
// the result is the same for any number of threads.

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

#include "interface.h"
#include "vectors.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

// The arguments of the forward pass; pointers may be null where noted. `record` is written for the
// backward pass: the mean of every channel, then 1 / standard deviation, scale and offset.
struct Forward {
  int64_t rows, channels;
  const void* input;
  const void* shortcut;  // or null
  void* output;
  const float* weight;  // or null
  const float* bias;    // or null
  float* running_mean;  // or null in training
  float* running_var;   // or null in training
  double* record;
  double momentum, eps;
  int64_t training, relu;
};

// The arguments of the backward pass. The mask of a ReLU is computed from `output` if there is one,
// else from `input`.
struct Backward {
  int64_t rows, channels;
  const void* grad;
  const void* input;
  const void* output;  // or null
  const double* record;
  void* grad_shortcut;  // the masked gradient; null unless there is an output
  void* grad_input;     // or null
  float* grad_weight;   // or null
  float* grad_bias;     // or null
  int64_t training, relu;
};

namespace {

constexpr int kWidth = kVectorBytes / sizeof(float);
constexpr int kStrip = 4;         // rows that are summed in registers
constexpr int kWritingStrip = 2;  // the same if a result is written too
constexpr int64_t kSamples = 16;
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

// For every channel, the affine map that normalises and the one that gives the input's gradient.
// Both apply to the distance from `shift`, the mean in float32: the difference loses no digits.
struct Coefficients {
  std::vector<float> shift, scale, offset, slope, constant;
  explicit Coefficients(int64_t channels)
      : shift(channels), scale(channels), offset(channels), slope(channels), constant(channels) {}
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

// A value near the mean of each channel: the mean of a few evenly spaced rows.
template <class T>
std::vector<float> sample_means(const Forward& p) {
  const T* input = static_cast<const T*>(p.input);
  const int64_t samples = std::min(p.rows, kSamples);
  std::vector<float> means(p.channels, 0.0f);
  for (int64_t i = 0; i < samples; ++i) {
    const T* row = input + p.rows * i / samples * p.channels;
    for_channels(p.channels, [&](auto lanes, int64_t c) {
      using L = decltype(lanes);
      store<L>(&means[c], load<L>(&means[c]) + load<L>(row + c) / float(samples));
    });
  }
  return means;
}

void update(float* running, double momentum, double value) {
  *running = float((1 - momentum) * double(*running) + momentum * value);
}

// Writes mean and deviation of the batch to the record, and updates the running statistics.
template <class T>
void measure(int threads, const Forward& p) {
  const T* input = static_cast<const T*>(p.input);
  const Layout<T> layout(p.rows, p.channels);
  const std::vector<float> shift = sample_means<T>(p);
  Sums sums(layout.blocks, p.channels);
  for_all(threads, layout.blocks, [&](int64_t block) {
    sums.clear(block);
    for_strips<kStrip>(layout, block, [&](auto lanes, auto height, int64_t at, int64_t c) {
      using L = decltype(lanes);
      const auto centre = load<L>(&shift[c]);
      typename L::Float first = {}, second = {};
      for (int row = 0; row < height(); ++row, at += p.channels) {
        const auto distance = layout.template read<L>(input + at) - centre;
        first += distance;
        second += distance * distance;
      }
      sums.add<L>(block, c, first, second);
    });
  });
  sums.total(threads, [&](int64_t c, double first, double second) {
    const double mean = double(shift[c]) + first / p.rows;
    const double squares = second - first * first / p.rows;
    const double variance = (squares < 0 ? 0 : squares) / p.rows;
    p.record[c] = mean;
    p.record[p.channels + c] = 1 / std::sqrt(variance + p.eps);
    if (p.running_mean) update(p.running_mean + c, p.momentum, mean);
    if (p.running_var) update(p.running_var + c, p.momentum, variance * p.rows / (p.rows - 1));
  });
}

void recall(const Forward& p) {
  for (int64_t c = 0; c < p.channels; ++c) {
    p.record[c] = p.running_mean[c];
    p.record[p.channels + c] = 1 / std::sqrt(double(p.running_var[c]) + p.eps);
  }
}

// Completes the record from mean and deviation: scale and offset of (x - shift) * scale + offset.
void complete(const Forward& p) {
  for (int64_t c = 0; c < p.channels; ++c) {
    const double mean = p.record[c], shift = float(mean);
    const double scale = p.record[p.channels + c] * (p.weight ? p.weight[c] : 1.0);
    p.record[2 * p.channels + c] = float(scale);
    p.record[3 * p.channels + c] = float((p.bias ? p.bias[c] : 0.0) + (shift - mean) * scale);
  }
}

Coefficients read_record(const double* record, int64_t channels) {
  Coefficients k(channels);
  for (int64_t c = 0; c < channels; ++c) {
    k.shift[c] = float(record[c]);
    k.scale[c] = float(record[2 * channels + c]);
    k.offset[c] = float(record[3 * channels + c]);
  }
  return k;
}

template <class L>
inline typename L::Float normalise(const Coefficients& k, int64_t c, typename L::Float distance) {
  return distance * load<L>(&k.scale[c]) + load<L>(&k.offset[c]);
}

// The bound that a ReLU compares with; without a ReLU, NaN, which every comparison fails with.
float relu_bound(bool relu) { return relu ? 0.0f : std::numeric_limits<float>::quiet_NaN(); }

// `value`, or zero where `by` is at most the bound.
template <class Float>
inline Float mask(Float value, Float by, float bound) {
  return by <= bound ? Float{} : value;
}

template <class T, bool kShortcut>
void apply(int threads, const Forward& p) {
  const T* input = static_cast<const T*>(p.input);
  const T* shortcut = static_cast<const T*>(p.shortcut);
  T* output = static_cast<T*>(p.output);
  const Coefficients k = read_record(p.record, p.channels);
  const Layout<T> layout(p.rows, p.channels);
  const bool streaming = layout.streams(output);
  const float bound = relu_bound(p.relu);
  for_all(threads, layout.blocks, [&](int64_t block) {
    for_strips<1>(layout, block, [&](auto lanes, auto, int64_t at, int64_t c) {
      using L = decltype(lanes);
      const auto distance = layout.template read<L>(input + at) - load<L>(&k.shift[c]);
      auto value = normalise<L>(k, c, distance);
      if constexpr (kShortcut) value += layout.template read<L>(shortcut + at);
      layout.template write<L>(output + at, mask(value, value, bound), streaming);
    });
  });
}

template <class T>
void forward(int threads, const Forward& p) {
  if (p.training) {
    measure<T>(threads, p);
  } else {
    recall(p);
  }
  complete(p);
  p.shortcut ? apply<T, true>(threads, p) : apply<T, false>(threads, p);
}

// Sums the masked gradient and its product with the distance from the mean. Writes the masked
// gradient if the mask comes from the output.
template <class T, bool kOutput>
void reduce(int threads, const Backward& p, const Coefficients& k, Sums& sums) {
  const T* grad = static_cast<const T*>(p.grad);
  const T* input = static_cast<const T*>(p.input);
  const T* output = static_cast<const T*>(p.output);
  T* masked = static_cast<T*>(p.grad_shortcut);
  const Layout<T> layout(p.rows, p.channels);
  const bool streaming = layout.streams(masked);
  const float bound = relu_bound(p.relu);
  for_all(threads, layout.blocks, [&](int64_t block) {
    sums.clear(block);
    constexpr int kRows = kOutput ? kWritingStrip : kStrip;
    for_strips<kRows>(layout, block, [&](auto lanes, auto height, int64_t at, int64_t c) {
      using L = decltype(lanes);
      const auto shift = load<L>(&k.shift[c]);
      typename L::Float first = {}, second = {};
      for (int row = 0; row < height(); ++row, at += p.channels) {
        auto value = layout.template read<L>(grad + at);
        const auto distance = layout.template read<L>(input + at) - shift;
        if constexpr (kOutput) {
          value = mask(value, layout.template read<L>(output + at), bound);
          layout.template write<L>(masked + at, value, streaming);
        } else {
          value = mask(value, normalise<L>(k, c, distance), bound);
        }
        first += value;
        second += value * distance;
      }
      sums.add<L>(block, c, first, second);
    });
  });
}

// Computes the gradients of weight and bias, and the affine map that gives the input's gradient:
// scale * gradient + slope * distance from the mean + constant.
void conclude(int threads, const Backward& p, const Sums& sums, Coefficients& k) {
  const double* deviations = p.record + p.channels;
  sums.total(threads, [&](int64_t c, double first, double second) {
    const double rest = double(k.shift[c]) - p.record[c];
    const double product = deviations[c] * (second + rest * first);
    if (p.grad_weight) p.grad_weight[c] = float(product);
    if (p.grad_bias) p.grad_bias[c] = float(first);
    if (!p.training) return;
    const double slope = -double(k.scale[c]) * deviations[c] * product / p.rows;
    k.slope[c] = float(slope);
    k.constant[c] = float(slope * rest - double(k.scale[c]) * first / p.rows);
  });
}

// Computes the gradient of the input. It needs the input unless the statistics are constants and
// the gradient is already masked.
template <class T, bool kInput>
void propagate(int threads, const Backward& p, const Coefficients& k) {
  const T* grad = static_cast<const T*>(p.grad_shortcut ? p.grad_shortcut : p.grad);
  const T* input = static_cast<const T*>(p.input);
  T* result = static_cast<T*>(p.grad_input);
  const Layout<T> layout(p.rows, p.channels);
  const bool streaming = layout.streams(result);
  const float bound = relu_bound(p.relu && !p.output);
  for_all(threads, layout.blocks, [&](int64_t block) {
    for_strips<1>(layout, block, [&](auto lanes, auto, int64_t at, int64_t c) {
      using L = decltype(lanes);
      auto value = layout.template read<L>(grad + at);
      if constexpr (kInput) {
        const auto distance = layout.template read<L>(input + at) - load<L>(&k.shift[c]);
        value = mask(value, normalise<L>(k, c, distance), bound) * load<L>(&k.scale[c]);
        value += distance * load<L>(&k.slope[c]) + load<L>(&k.constant[c]);
      } else {
        value *= load<L>(&k.scale[c]);
      }
      layout.template write<L>(result + at, value, streaming);
    });
  });
}

template <class T>
void backward(int threads, const Backward& p) {
  Coefficients k = read_record(p.record, p.channels);
  if (p.training || p.grad_weight || p.grad_bias || p.output) {
    Sums sums(Layout<T>(p.rows, p.channels).blocks, p.channels);
    p.output ? reduce<T, true>(threads, p, k, sums) : reduce<T, false>(threads, p, k, sums);
    conclude(threads, p, sums, k);
  }
  if (!p.grad_input) return;
  const bool needs_input = p.training || (p.relu && !p.output);
  needs_input ? propagate<T, true>(threads, p, k) : propagate<T, false>(threads, p, k);
}

template <class Run>
Status guarded(Run run) {
  try {
    run();
    return kDone;
  } catch (const std::bad_alloc&) {
    return kOutOfMemory;
  }
}

}  // namespace

// `dtype` is kFloat32 or kBFloat16; the functions return a Status. Matrices are dense.
extern "C" int rednet_batch_norm(int dtype, int threads, const Forward* p) {
  if (dtype == kFloat32) return guarded([&] { forward<float>(threads, *p); });
  if (dtype == kBFloat16) return guarded([&] { forward<bfloat16>(threads, *p); });
  return kUnknownDtype;
}

extern "C" int rednet_batch_norm_grad(int dtype, int threads, const Backward* p) {
  if (dtype == kFloat32) return guarded([&] { backward<float>(threads, *p); });
  if (dtype == kBFloat16) return guarded([&] { backward<bfloat16>(threads, *p); });
  return kUnknownDtype;
}
