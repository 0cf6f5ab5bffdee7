// The three operators of an involution on the CPU, with a C interface.
//
// The work is divided into tasks: some groups of some rows of one image. A task packs the rows that
// the windows of one row of outputs cover, computes that row in tiles, and moves on to the next
// row, for which it packs only the rows that are new. One thread computes each sum, in a fixed
// order, so results do not depend on the number of threads.

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "epilogue.h"
#include "interface.h"
#include "rows.h"
#include "tensors.h"
#include "tiles.h"
#include "vectors.h"
#include "window.h"

namespace {

// Packs the kernels of a group for up to kTile pixels, starting at (i, j), as [pixel][tap]. Pixels
// beyond the end of the row, which fill the last vector, get zeros.
template <typename A, int64_t K, int64_t S>
void pack_kernels(A* packed, const Problem<K, S>& problem, const View<A>& weight, const Task& task,
                  int64_t group, int64_t i, int64_t j) {
  const int64_t count = std::min(kTile, problem.out_width - j), pitch = problem.pitch();
  const char* const from = weight.at(task.n, group * problem.taps(), i, j);
  const char* const last = weight.at(problem.batch - 1, problem.groups * problem.taps() - 1,
                                     problem.out_height - 1, problem.out_width - 1);
  const int64_t read = ((count - 1) * weight.w + pitch - 1) * weight.storage.bytes;
  weight.storage.pack(packed, pitch, from, weight.w, weight.c, count, problem.taps(),
                      from + read <= last);
  const int64_t computed = round_up(count, kOutputs<A>);
  std::memset(packed + count * pitch, 0, (computed - count) * pitch * sizeof(A));
}

// Calls body(block, column, kernels) for every kOutputs columns of row `i` of a group's outputs,
// with `rows` set to the packed rows that their taps read.
template <typename A, int64_t K, int64_t S, typename Rows, typename Row, typename F>
INLINE void each_tile(const Problem<K, S>& problem, const View<A>& weight, const Task& task,
                      int64_t group, int64_t i, const Rows& packed, Row* rows, A* kernels,
                      F&& body) {
  for (int64_t j = 0; j < problem.out_width; j += kTile) {
    pack_kernels(kernels, problem, weight, task, group, i, j);
    const int64_t end = std::min(kTile, problem.out_width - j);
    for (int64_t block = 0; block < problem.blocks; ++block) {
      for (int64_t kh = 0; kh < problem.size(); ++kh) rows[kh] = packed.row(group, block, i, kh);
      for (int64_t k = 0; k < end; k += kOutputs<A>)
        body(block, j + k, kernels + k * problem.pitch());
    }
  }
}

// A thread's memory for a task: the rows that it keeps packed, one more packed row, one packed
// tile, and the rows that the taps of the current row of outputs use.
template <typename A, typename Rows> struct Workspace {
  Rows& kept;
  A* const row;
  A* const tile;
  typename Rows::Row* const rows;
};

// Divides `all_rows` rows of every image among threads and runs body(workspace, task) for each.
template <typename Rows, typename A, int64_t K, int64_t S, typename Body>
Status for_each_task(const Problem<K, S>& problem, const View<A>& image, int64_t all_rows,
                     int threads, int64_t row_size, int64_t tile_size, Body&& body) {
  using Row = typename Rows::Row;
  const Plan plan(problem, all_rows, problem.reach, Rows::need(problem, 1), threads);
  const Scratch scratch(threads, Rows::need(problem, plan.groups) + Scratch::need<A>(row_size) +
                                     Scratch::need<A>(tile_size) +
                                     Scratch::need<Row>(problem.size()));
  if (!scratch) return kOutOfMemory;
#pragma omp parallel num_threads(threads)
  {
    char* memory = scratch.of_thread(omp_get_thread_num());
    Rows kept(problem, image, plan.groups, memory);
    A* const row = Scratch::take<A>(memory, row_size);
    A* const tile = Scratch::take<A>(memory, tile_size);
    const Workspace<A, Rows> workspace{kept, row, tile, Scratch::take<Row>(memory, problem.size())};
#pragma omp for schedule(dynamic)
    for (int64_t index = 0; index < plan.tasks; ++index) {
      const Task task(plan, problem, all_rows, index);
      kept.begin(task);
      body(workspace, task);
    }
  }
  return kDone;
}

template <typename A, int64_t K, int64_t S>
Status involution2d(const Shape& shape, int threads, const View<A>& input, const View<A>& weight,
                    const View<A>& output, const Affine* affine) {
  using Rows = InputRows<A, K, S, false>;
  const Problem<K, S> problem(shape, kOutputs<A>);
  const Epilogue<A> epilogue(problem, affine);
  if (!epilogue) return kOutOfMemory;
  const int64_t row_size = problem.out_columns * kBlock, tile_size = kTile * problem.pitch();
  const auto compute = [&](const Workspace<A, Rows>& space, const Task& task) INLINED {
    const int64_t parts = (task.end_group - task.group) * problem.blocks *
                          divide_up(shape.out_width, kOutputs<A>);
    for (int64_t i = task.row; i < task.end_row; ++i) {
      space.kept.fetch(i);
      Ahead ahead(parts);
      if (i + 1 < shape.out_height) {
        ahead.will_read(weight, task.n, i + 1, shape.out_width);
        ahead.will_write(output, task.n, i + 1, shape.out_width);
        problem.each_new_row(problem.row(i, problem.size() - 1) + 1, [&](int64_t y) {
          ahead.will_read(input, task.n, y, shape.width);
        });
      }
      for (int64_t group = task.group; group < task.end_group; ++group) {
        each_tile(problem, weight, task, group, i, space.kept, space.rows, space.tile,
                  [&](int64_t block, int64_t j, const A* taps) INLINED {
                    ahead.ask();
                    A* const sums = space.row + block * row_size + j * kBlock;
                    correlate<A>(problem, space.rows, j, taps, sums);
                    epilogue.apply(group * problem.blocks + block, sums);
                  });
        for (int64_t block = 0; block < problem.blocks; ++block)
          output.storage.unpack(output.at(task.n, problem.channel(group, block), i, 0), output.w,
                                output.c, space.row + block * row_size, kBlock, shape.out_width,
                                problem.block_channels(block));
      }
    }
  };
  return for_each_task<Rows>(problem, input, shape.out_height, threads, problem.blocks * row_size,
                             tile_size, compute);
}

template <typename A, int64_t K, int64_t S>
Status involution2d_grad_input(const Shape& shape, int threads, const View<A>& grad,
                               const View<A>& weight, const View<A>& grad_input) {
  using Rows = GradientRows<A, K, S>;
  const Problem<K, S> problem(shape, kOutputs<A>);
  const int64_t row_size = problem.out_columns * kBlock, tile_size = kTile * problem.pitch();
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
        ahead.will_read(weight, task.n, i + 1, shape.out_width);
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
        each_tile(problem, weight, task, group, i, space.kept, space.rows, space.tile,
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
                             problem.blocks * row_size, tile_size, compute);
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
  if constexpr (which == Operator::kForward)
    return involution2d<A, K, S>(shape, threads, a, b, result, affine);
  else if constexpr (which == Operator::kGradInput)
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
