// The argument of the kernels that make their taps themselves, by a span.
//
// A span is the 1x1 convolution that makes the kernels (N, G*K*K, Ho, Wo) of an involution from
// reduced images (N, D, Ho, Wo), with a weight (G*K*K, D) and a bias (G*K*K).

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "problem.cuh"

constexpr int DEPTH = REDUCED_CHANNELS;  // D of the span; D alone is the dilation

// Strides are in bytes.
struct Matrix {
  void* data;
  long long row, column;
};

// `second` is the tensor of reduced images; a row of `weight` has the factors of one tap.
struct SpanProblem : Problem {
  Matrix weight;
  const void* bias;  // contiguous, null if there is none
};

// `first` is the output's gradient, `second` the input, `result` the gradient of the reduced
// images, in float32 of each chunk of groups, `result_chunk` bytes apart, if there are several.
struct SpanGradientsProblem : Problem {
  Tensor reduced;
  Matrix weight;
  void* sums;  // float32 (blocks in x, G*K*K, D + 1): the gradients of the weight and of the bias
  long long result_chunk;
};
