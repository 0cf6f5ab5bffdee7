// The forward pass of an involution, with kernels from a tensor or made on the way.

#pragma once

#include <cstdint>

#include "epilogue.h"
#include "interface.h"
#include "rows.h"
#include "tasks.h"
#include "tensors.h"
#include "tiles.h"
#include "vectors.h"
#include "window.h"

namespace {

template <typename A, int64_t K, int64_t S, typename Kernels>
Status involution2d(const Problem<K, S>& problem, int threads, const View<A>& input,
                    const Kernels& kernels, const View<A>& output, const Affine* affine) {
  using Rows = InputRows<A, K, S, false>;
  const Epilogue<A> epilogue(problem, affine);
  if (!epilogue) return kOutOfMemory;
  const int64_t row_size = problem.out_columns * kBlock;
  const auto compute = [&](const Workspace<A, Rows>& space, const Task& task) INLINED {
    const int64_t parts = (task.end_group - task.group) * problem.blocks *
                          divide_up(problem.out_width, kOutputs<A>);
    for (int64_t i = task.row; i < task.end_row; ++i) {
      space.kept.fetch(i);
      kernels.begin_row(space.tile, task, i);
      Ahead ahead(parts);
      if (i + 1 < problem.out_height) {
        kernels.will_read(ahead, task, i + 1);
        ahead.will_write(output, task.n, i + 1, problem.out_width);
        problem.each_new_row(problem.row(i, problem.size() - 1) + 1, [&](int64_t y) {
          ahead.will_read(input, task.n, y, problem.width);
        });
      }
      for (int64_t group = task.group; group < task.end_group; ++group) {
        each_tile(problem, kernels, task, group, i, space,
                  [&](int64_t block, int64_t j, const A* taps) INLINED {
                    ahead.ask();
                    A* const sums = space.row + block * row_size + j * kBlock;
                    correlate<Kernels::kOrder, A>(problem, space.rows, j, taps, sums);
                    epilogue.apply(group * problem.blocks + block, sums);
                  });
        for (int64_t block = 0; block < problem.blocks; ++block)
          output.storage.unpack(output.at(task.n, problem.channel(group, block), i, 0), output.w,
                                output.c, space.row + block * row_size, kBlock, problem.out_width,
                                problem.block_channels(block));
      }
    }
  };
  return for_each_task<Rows>(problem, input, problem.out_height, threads,
                             problem.blocks * row_size, kernels.memory(), compute);
}

}  // namespace
