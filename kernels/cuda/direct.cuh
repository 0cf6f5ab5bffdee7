// The operators if no tile fits in shared memory: a thread computes one element at a time.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "problem.cuh"

struct Size {
  int channels, height, width;
};

// An element of the result or of an argument.
struct Element {
  int image, channel, y, x;

  // Returns the element with a number, counted in the memory order of the result.
  __device__ static Element of(long long number, const Size& size) {
    Element element;
    if (RESULT_ORDER == BY_CHANNEL) element.channel = next(number, size.channels);
    element.x = next(number, size.width);
    element.y = next(number, size.height);
    if (RESULT_ORDER != BY_CHANNEL) element.channel = next(number, size.channels);
    element.image = static_cast<int>(number);
    return element;
  }

  // Removes and returns the last digit of a number.
  __device__ static int next(long long& number, int base) {
    const int digit = static_cast<int>(number % base);
    number /= base;
    return digit;
  }
};

__device__ Storage* locate(const Tensor& tensor, const Element& at) {
  return reinterpret_cast<Storage*>(static_cast<char*>(tensor.data) + at.image * tensor.batch +
                                    at.channel * tensor.channel + at.y * tensor.row +
                                    at.x * tensor.column);
}

__device__ Real read(const Tensor& tensor, const Element& at) {
  return to_real(*locate(tensor, at));
}

__device__ bool is_inside(const Element& at, int height, int width) {
  return at.y >= 0 && at.y < height && at.x >= 0 && at.x < width;
}

// The pixel of the input that a tap of an output's window covers.
__device__ Element covered(const Problem& problem, const Element& output, int channel, int tap) {
  return {output.image, channel, output.y * S + tap / K * D - problem.padding,
          output.x * S + tap % K * D - problem.padding};
}

// Reads the input; zeros outside it.
__device__ Real read_padded(const Problem& problem, const Tensor& input, const Element& at) {
  return is_inside(at, problem.height, problem.width) ? read(input, at) : Real(0);
}

#if OPERATOR == INVOLUTION2D

__device__ Size size_of(const Problem& problem) {
  return {problem.channels, problem.out_height, problem.out_width};
}

__device__ Real compute(const Problem& problem, const Element& at) {
  const int first = at.channel / GROUP_WIDTH * K * K;
  Real sum = 0;
  for (int tap = 0; tap < K * K; ++tap) {
    const Real value = read_padded(problem, problem.first, covered(problem, at, at.channel, tap));
    sum = multiply_add(value, read(problem.second, {at.image, first + tap, at.y, at.x}), sum);
  }
  return sum;
}

#elif OPERATOR == INVOLUTION2D_GRAD_INPUT

__device__ Size size_of(const Problem& problem) {
  return {problem.channels, problem.height, problem.width};
}

__device__ Real compute(const Problem& problem, const Element& at) {
  const int first = at.channel / GROUP_WIDTH * K * K;
  Real sum = 0;
  for (int tap = 0; tap < K * K; ++tap) {
    const int down = at.y + problem.padding - tap / K * D;
    const int right = at.x + problem.padding - tap % K * D;
    if (down < 0 || right < 0 || down % S || right % S) continue;
    const Element output{at.image, at.channel, down / S, right / S};
    if (!is_inside(output, problem.out_height, problem.out_width)) continue;
    const Real weight = read(problem.second, {at.image, first + tap, output.y, output.x});
    sum = multiply_add(read(problem.first, output), weight, sum);
  }
  return sum;
}

#else

__device__ Size size_of(const Problem& problem) {
  return {problem.groups * K * K, problem.out_height, problem.out_width};
}

__device__ Real compute(const Problem& problem, const Element& at) {
  const int first = at.channel / (K * K) * GROUP_WIDTH, tap = at.channel % (K * K);
  Real sum = 0;
  for (int c = first; c < first + GROUP_WIDTH; ++c) {
    const Real value = read_padded(problem, problem.second, covered(problem, at, c, tap));
    sum = multiply_add(read(problem.first, {at.image, c, at.y, at.x}), value, sum);
  }
  return sum;
}

#endif

__device__ void run(const Problem& problem) {
  const Size size = size_of(problem);
  const long long count =
      static_cast<long long>(problem.batch) * size.channels * size.height * size.width;
  const long long threads = static_cast<long long>(gridDim.x) * THREADS;
  for (long long number = blockIdx.x * static_cast<long long>(THREADS) + threadIdx.x;
       number < count; number += threads) {
    const Element at = Element::of(number, size);
    *locate(problem.result, at) = to_storage<Storage>(compute(problem, at));
  }
}

#if OPERATOR == INVOLUTION2D
extern "C" __global__ void __launch_bounds__(THREADS) involution2d(const Problem problem) {
  run(problem);
}
#elif OPERATOR == INVOLUTION2D_GRAD_INPUT
extern "C" __global__ void __launch_bounds__(THREADS)
    involution2d_grad_input(const Problem problem) {
  run(problem);
}
#else
extern "C" __global__ void __launch_bounds__(THREADS)
    involution2d_grad_weight(const Problem problem) {
  run(problem);
}
#endif
