// A block's taps, by tensor cores if the GPU and the dtype have them and the block has whole warps.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "problem.cuh"
#include "span_matrix.cuh"
#include "span_problem.cuh"
#include "span_product.cuh"
#include "span_taps.cuh"
#include "tiles.cuh"

template <class Taps>
__device__ __forceinline__ void make_taps(const Taps& taps, const Plane& reduced,
                                          const SpanProblem& problem, int group,
                                          const Corner& corner) {
  const Span span(problem, group);
  if constexpr (HAS_TENSOR_CORES && BYTES == 2 && THREADS % 32 == 0) {
    SpanMatrix<Taps, SECOND_ORDER>::make(taps, reduced, span, corner);
  } else {
    SpanProduct<Taps, SECOND_ORDER>::make(taps, reduced, span, corner);
  }
}
