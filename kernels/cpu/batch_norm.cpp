// Batch normalisation with shortcut and activation, act(norm(input) + shortcut), and its gradients.
//
// Images in channels_last are a matrix of `rows` pixels times `channels`. Training reads it twice,
// for the statistics and to normalise, and is limited by memory bandwidth. Sums are over blocks of
// rows that depend on the shape alone, in float32 within a block and in float64 across blocks, so
// the result is the same for any number of threads.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <new>
#include <vector>

#include "interface.h"
#include "matrix.h"
#include "vectors.h"

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

constexpr int64_t kSamples = 16;  // rows from which a value near the mean is found

// For every channel, the affine map that normalises and the one that gives the input's gradient.
// Both apply to the distance from `shift`, the mean in float32: the difference loses no digits.
struct Coefficients {
  std::vector<float> shift, scale, offset, slope, constant;
  explicit Coefficients(int64_t channels)
      : shift(channels), scale(channels), offset(channels), slope(channels), constant(channels) {}
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
