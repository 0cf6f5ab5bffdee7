// The three operators of an involution on the CPU, with a C interface.

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "epilogue.h"
#include "forward.h"
#include "interface.h"
#include "packed_kernels.h"
#include "rows.h"
#include "tasks.h"
#include "tensors.h"
#include "tiles.h"
#include "vectors.h"
#include "window.h"

namespace {

template <typename A, int64_t K, int64_t S>
Status involution2d_grad_input(const Shape& shape, int threads, const View<A>& grad,
                               const View<A>& weight, const View<A>& grad_input) {
  using Rows = GradientRows<A, K, S>;
  const Problem<K, S> problem(shape, kOutputs<A>);
  const PackedKernels<A, K, S> kernels(problem, weight);
  const int64_t row_size = problem.out_columns * kBlock;
  const auto compute = [&](const Workspace<A, Rows>& space, const Task& task) INLINED {
    const int64_t parts = (task.end_group - task.group) * problem.blocks *
                          divide_up(shape.out_width, kOutputs<A>);
    const int64_t below = task.row + shape.padding - problem.reach + 1;
    const int64_t first = below > 0 ? divide_up(below, problem.step()) : 0;
    const int64_t end = divide_up(task.end_row + shape.padding, problem.step());
    for (int64_t i = first; i < std::min(end, shape.out_height); ++i) {
      space.kept.flush(problem.row(i, 0));
      Ahead ahead(parts);
      if (i + 1 < shape.out_height) {
        kernels.will_read(ahead, task, i + 1);
        ahead.will_read(grad, task.n, i + 1, shape.out_width);
        problem.each_new_row(problem.row(i, 0), [&](int64_t y) {
          ahead.will_write(grad_input, task.n, y, shape.width);
        });
      }
      for (int64_t group = task.group; group < task.end_group; ++group) {
        for (int64_t block = 0; block < problem.blocks; ++block)
          grad.storage.pack(space.row + block * row_size, kBlock,
                            grad.at(task.n, problem.channel(group, block), i, 0), grad.w, grad.c,
                            shape.out_width, problem.block_channels(block), false);
        each_tile(problem, kernels, task, group, i, space,
                  [&](int64_t block, int64_t j, const A* taps) INLINED {
                    ahead.ask();
                    const A* const gradients = space.row + block * row_size + j * kBlock;
                    scatter<A>(problem, space.rows, j, taps, gradients);
                  });
      }
    }
    space.kept.flush(task.end_row);
  };
  return for_each_task<Rows>(problem, grad_input, shape.height, threads,
                             problem.blocks * row_size, kernels.memory(), compute);
}

template <typename A, int64_t K, int64_t S>
Status involution2d_grad_weight(const Shape& shape, int threads, const View<A>& grad,
                                const View<A>& input, const View<A>& grad_weight) {
  using Rows = InputRows<A, K, S, true>;
  const Problem<K, S> problem(shape, kTile);
  const auto compute = [&](const Workspace<A, Rows>& space, const Task& task) INLINED {
    const int64_t parts =
        (task.end_group - task.group) * problem.size() * divide_up(shape.out_width, kTile);
    for (int64_t i = task.row; i < task.end_row; ++i) {
      space.kept.fetch(i);
      Ahead ahead(parts);
      if (i + 1 < shape.out_height) {
        ahead.will_write(grad_weight, task.n, i + 1, shape.out_width);
        ahead.will_read(grad, task.n, i + 1, shape.out_width);
        problem.each_new_row(problem.row(i, problem.size() - 1) + 1, [&](int64_t y) {
          ahead.will_read(input, task.n, y, shape.width);
        });
      }
      for (int64_t group = task.group; group < task.end_group; ++group) {
        grad.storage.pack(space.row, problem.out_columns,
                          grad.at(task.n, problem.channel(group, 0), i, 0), grad.c, grad.w,
                          problem.group_channels, shape.out_width, false);
        for (int64_t j = 0; j < shape.out_width; j += kTile) {
          for (int64_t kh = 0; kh < problem.size(); ++kh) {
            ahead.ask();
            const A* const row = space.kept.row(group, 0, i, kh);
            multiply_rows<A>(problem, row + j, space.kept.channel_pitch(row), space.row + j,
                             space.tile + kh * problem.size() * kTile);
          }
          grad_weight.storage.unpack(grad_weight.at(task.n, group * problem.taps(), i, j),
                                     grad_weight.c, grad_weight.w, space.tile, kTile,
                                     problem.taps(), std::min(kTile, shape.out_width - j));
        }
      }
    }
  };
  return for_each_task<Rows>(problem, input, shape.out_height, threads,
                             problem.group_channels * problem.out_columns, problem.taps() * kTile,
                             compute);
}

// ---- Dispatch on the dtype, and on the windows that are compiled in ----

enum class Operator { kForward, kGradInput, kGradWeight };

template <Operator which, typename A, int64_t K, int64_t S>
Status run(const Shape& shape, int threads, const View<A>& a, const View<A>& b,
           const View<A>& result, const Affine* affine) {
  if constexpr (which == Operator::kForward) {
    const Problem<K, S> problem(shape, kOutputs<A>);
    return involution2d(problem, threads, a, PackedKernels<A, K, S>(problem, b), result, affine);
  } else if constexpr (which == Operator::kGradInput)
    return involution2d_grad_input<A, K, S>(shape, threads, a, b, result);
  else
    return involution2d_grad_weight<A, K, S>(shape, threads, a, b, result);
}

template <Operator which, typename T, typename A>
Status run(const Shape& shape, int threads, const Tensor& first, const Tensor& second,
           const Tensor& output, const Affine* affine) {
  const Storage<A>& storage = kStorage<T, A>;
  const View<A> a(first, storage), b(second, storage), result(output, storage);
  const int64_t size = shape.kernel_size, stride = shape.stride;
  if constexpr (std::is_same_v<A, float>)
    if (shape.dilation == 1) {
      if (size == 7 && stride == 1) return run<which, A, 7, 1>(shape, threads, a, b, result, affine);
      if (size == 7 && stride == 2) return run<which, A, 7, 2>(shape, threads, a, b, result, affine);
      if (size == 3 && stride == 1) return run<which, A, 3, 1>(shape, threads, a, b, result, affine);
      if (size == 3 && stride == 2) return run<which, A, 3, 2>(shape, threads, a, b, result, affine);
    }
  return run<which, A, 0, 0>(shape, threads, a, b, result, affine);
}

template <Operator which>
Status run(int dtype, int threads, const Shape& shape, const Tensor& a, const Tensor& b,
           const Tensor& result, const Affine* affine = nullptr) {
  switch (dtype) {
    case kFloat32: return run<which, float, float>(shape, threads, a, b, result, affine);
    case kBFloat16: return run<which, bfloat16, float>(shape, threads, a, b, result, affine);
    case kFloat64: return run<which, double, double>(shape, threads, a, b, result, affine);
    default: return kUnknownDtype;
  }
}

}  // namespace

// `dtype` is a Dtype; the functions return a Status.
extern "C" {

// output (N, C, Ho, Wo) from input (N, C, H, W) and weight (N, G*K*K, Ho, Wo).
int rednet_involution2d(int dtype, int threads, const Shape* shape, const Tensor* input,
                        const Tensor* weight, const Tensor* output) {
  return run<Operator::kForward>(dtype, threads, *shape, *input, *weight, *output);
}

// The same times scale (C) plus shift (C), then a ReLU if `affine` says so.
int rednet_involution2d_affine(int dtype, int threads, const Shape* shape, const Tensor* input,
                               const Tensor* weight, const Tensor* output, const Affine* affine) {
  return run<Operator::kForward>(dtype, threads, *shape, *input, *weight, *output, affine);
}

// grad_input (N, C, H, W) from grad (N, C, Ho, Wo) and weight (N, G*K*K, Ho, Wo).
int rednet_involution2d_grad_input(int dtype, int threads, const Shape* shape, const Tensor* grad,
                                   const Tensor* weight, const Tensor* grad_input) {
  return run<Operator::kGradInput>(dtype, threads, *shape, *grad, *weight, *grad_input);
}

// grad_weight (N, G*K*K, Ho, Wo) from grad (N, C, Ho, Wo) and input (N, C, H, W).
int rednet_involution2d_grad_weight(int dtype, int threads, const Shape* shape, const Tensor* grad,
                                    const Tensor* input, const Tensor* grad_weight) {
  return run<Operator::kGradWeight>(dtype, threads, *shape, *grad, *input, *grad_weight);
}
}
