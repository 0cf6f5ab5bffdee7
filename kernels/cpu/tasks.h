// The loops of a call: over tasks, in parallel, and over the tiles of a row.
//
// The work is divided into tasks: some groups of some rows of one image. A task packs the rows that
// the windows of one row of outputs cover, computes that row in tiles, and moves on to the next
// row, for which it packs only the rows that are new. One thread computes each sum, in a fixed
// order, so results do not depend on the number of threads.

#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "interface.h"
#include "tensors.h"
#include "tiles.h"
#include "vectors.h"
#include "window.h"

namespace {

// A thread's memory for a task: the rows that it keeps packed, one more packed row, the memory for
// tiles of kernels, and the rows that the taps of the current row of outputs use.
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

// Calls body(block, column, kernels) for every kOutputs columns of row `i` of a group's outputs,
// with the workspace's rows set to the packed rows that their taps read.
template <typename A, int64_t K, int64_t S, typename Kernels, typename Rows, typename F>
INLINE void each_tile(const Problem<K, S>& problem, const Kernels& kernels, const Task& task,
                      int64_t group, int64_t i, const Workspace<A, Rows>& space, F&& body) {
  for (int64_t j = 0; j < problem.out_width; j += kTile) {
    const A* const tile = kernels.tile(space.tile, task, group, i, j);
    const int64_t end = std::min(kTile, problem.out_width - j);
    for (int64_t block = 0; block < problem.blocks; ++block) {
      for (int64_t kh = 0; kh < problem.size(); ++kh)
        space.rows[kh] = space.kept.row(group, block, i, kh);
      for (int64_t k = 0; k < end; k += kOutputs<A>)
        body(block, j + k, tile + k * problem.pixel_pitch(Kernels::kOrder));
    }
  }
}

}  // namespace
