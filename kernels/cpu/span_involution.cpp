// An involution together with the 1x1 convolution that makes its kernels, with a C interface.

#include <cstdint>
#include <type_traits>

#include "epilogue.h"
#include "forward.h"
#include "generated_kernels.h"
#include "interface.h"
#include "tensors.h"
#include "vectors.h"
#include "window.h"

namespace {

template <typename Unit, int64_t K, int64_t S>
Status run(const Shape& shape, int threads, const View<float>& input, const View<float>& reduced,
           const Span& span, const View<float>& output, const Affine* affine) {
  const Problem<K, S> problem(shape, kOutputs<float>);
  const GeneratedKernels<Unit, K, S> kernels(problem, reduced, span);
  return involution2d(problem, threads, input, kernels, output, affine);
}

template <typename Unit>
Status run(const Shape& shape, int threads, const View<float>& input, const View<float>& reduced,
           const Span& span, const View<float>& output, const Affine* affine) {
  const int64_t size = shape.kernel_size, stride = shape.stride;
  const auto call = [&](auto k, auto s) {
    return run<Unit, k, s>(shape, threads, input, reduced, span, output, affine);
  };
  using std::integral_constant;
  constexpr integral_constant<int64_t, 0> any;
  constexpr integral_constant<int64_t, 1> one;
  constexpr integral_constant<int64_t, 2> two;
  constexpr integral_constant<int64_t, 3> three;
  constexpr integral_constant<int64_t, 7> seven;
  if (shape.dilation == 1) {
    if (size == 7 && stride == 1) return call(seven, one);
    if (size == 7 && stride == 2) return call(seven, two);
    if (size == 3 && stride == 1) return call(three, one);
    if (size == 3 && stride == 2) return call(three, two);
  }
  return call(any, any);
}

const Storage<float>& storage_of(int dtype) {
  return dtype == kBFloat16 ? kStorage<bfloat16, float> : kStorage<float, float>;
}

#if defined(__AVX512BF16__)
// Neighbouring pairs of bfloat16 as elements of 32 bits; channels are dense, other strides even.
Tensor in_pairs(const Tensor& tensor) {
  const int64_t* const strides = tensor.strides;
  return {tensor.data, {strides[0] / 2, 1, strides[2] / 2, strides[3] / 2}};
}
#endif

}  // namespace

extern "C" {

// Whether the CPU multiplies pairs of bfloat16, which `rednet_span_involution2d` then takes.
int rednet_multiplies_pairs() {
#if defined(__AVX512BF16__)
  return 1;
#else
  return 0;
#endif
}

// output (N, C, Ho, Wo) from input (N, C, H, W), with the kernels that `span` makes of reduced
// (N, D, Ho, Wo); then times scale and plus shift if `affine` is not null. All tensors have one
// dtype, float32 or bfloat16. Returns a Status.
int rednet_span_involution2d(int dtype, int threads, const Shape* shape, const Tensor* input,
                             const Tensor* reduced, const Tensor* output, const Span* span,
                             int in_bfloat16_pairs, const Affine* affine) {
  if (dtype != kFloat32 && dtype != kBFloat16) return kUnknownDtype;
  const Storage<float>& storage = storage_of(dtype);
  const View<float> from(*input, storage), to(*output, storage);
#if defined(__AVX512BF16__)
  if (in_bfloat16_pairs) {
    const View<float> pairs(in_pairs(*reduced), kStorage<float, float>);
    return run<Pair>(*shape, threads, from, pairs, *span, to, affine);
  }
#endif
  return in_bfloat16_pairs
             ? kUnknownDtype
             : run<Single>(*shape, threads, from, View<float>(*reduced, storage), *span, to, affine);
}
}
