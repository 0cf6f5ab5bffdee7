// The packed rows of an image that a task keeps: rows that it reads, or rows that it sums.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "tensors.h"
#include "vectors.h"
#include "window.h"

namespace {

// The packed rows of the input that the windows of one row of outputs cover, for the groups of a
// task: as [channel][row][column] if `by_channel`, else as [block][row][column][16].
template <typename A, int64_t K, int64_t S, bool by_channel> class InputRows {
 public:
  using Row = const A*;

  static int64_t group_size(const Problem<K, S>& problem) {
    return (by_channel ? problem.group_channels : problem.blocks * kBlock) * problem.reach *
           problem.columns;
  }
  static int64_t need(const Problem<K, S>& problem, int64_t groups) {
    return Scratch::need<A>(groups * group_size(problem)) + Scratch::need<A>(row_size(problem)) +
           Scratch::need<int64_t>(problem.reach);
  }

  InputRows(const Problem<K, S>& problem, const View<A>& view, int64_t groups, char*& memory)
      : problem_(problem), view_(view),
        packed_(Scratch::take<A>(memory, groups * group_size(problem))),
        blank_(Scratch::take<A>(memory, row_size(problem))),
        held_(Scratch::take<int64_t>(memory, problem.reach)) {}

  void begin(const Task& task) {
    task_ = task;
    std::fill(held_, held_ + problem_.reach, -1);
  }

  // Packs the rows that row `i` of the outputs needs and that are not packed yet.
  void fetch(int64_t i) {
    for (int64_t kh = 0; kh < problem_.size(); ++kh) {
      const int64_t y = problem_.row(i, kh);
      if (y < 0 || y >= problem_.height || held_[y % problem_.reach] == y) continue;
      held_[y % problem_.reach] = y;
      for (int64_t group = task_.group; group < task_.end_group; ++group) pack_row(group, y);
    }
  }

  // The row that the taps kh of row `i` of the outputs read: zeros if it is outside the image.
  INLINE const A* row(int64_t group, int64_t block, int64_t i, int64_t kh) const {
    const int64_t y = problem_.row(i, kh);
    if (y < 0 || y >= problem_.height) return blank_;
    return at(group, block, y);
  }
  INLINE int64_t channel_pitch(const A* row) const {
    return row == blank_ ? 0 : problem_.reach * problem_.columns;
  }

 private:
  static int64_t row_size(const Problem<K, S>& problem) {
    return (by_channel ? 1 : kBlock) * problem.columns;
  }
  INLINE A* at(int64_t group, int64_t block, int64_t y) const {
    return packed_ + (group - task_.group) * group_size(problem_) +
           (block * problem_.reach + y % problem_.reach) * row_size(problem_);
  }
  void pack_row(int64_t group, int64_t y) {
    const int64_t step = problem_.step() * view_.w;
    problem_.each_phase([&](int64_t packed_column, int64_t column, int64_t count) INLINED {
      if (by_channel) {
        view_.storage.pack(at(group, 0, y) + packed_column, problem_.reach * problem_.columns,
                           view_.at(task_.n, problem_.channel(group, 0), y, column), view_.c, step,
                           problem_.group_channels, count, false);
        return;
      }
      for (int64_t block = 0; block < problem_.blocks; ++block)
        view_.storage.pack(at(group, block, y) + packed_column * kBlock, kBlock,
                           view_.at(task_.n, problem_.channel(group, block), y, column), step,
                           view_.c, count, problem_.block_channels(block), false);
    });
  }

  const Problem<K, S>& problem_;
  const View<A> view_;
  A* const packed_;
  A* const blank_;
  int64_t* const held_;
  Task task_;
};

// The packed rows of the input's gradient that are being summed, for the groups of a task.
template <typename A, int64_t K, int64_t S> class GradientRows {
 public:
  using Row = A*;

  static int64_t group_size(const Problem<K, S>& problem) {
    return problem.blocks * problem.reach * row_size(problem);
  }

  static int64_t need(const Problem<K, S>& problem, int64_t groups) {
    return Scratch::need<A>(groups * group_size(problem));
  }

  GradientRows(const Problem<K, S>& problem, const View<A>& view, int64_t groups, char*& memory)
      : problem_(problem), view_(view),
        sums_(Scratch::take<A>(memory, groups * group_size(problem))) {}

  void begin(const Task& task) {
    task_ = task;
    next_ = task.row;
  }

  // The row that the taps kh of row `i` of the outputs add to; null if it is another task's.
  INLINE A* row(int64_t group, int64_t block, int64_t i, int64_t kh) const {
    const int64_t y = problem_.row(i, kh);
    return y < task_.row || y >= task_.end_row ? nullptr : at(group, block, y);
  }

  // Writes the rows before `end`, which are complete, and zeroes their memory for later rows.
  void flush(int64_t end) {
    for (; next_ < std::min(end, task_.end_row); ++next_)
      for (int64_t group = task_.group; group < task_.end_group; ++group)
        for (int64_t block = 0; block < problem_.blocks; ++block) {
          unpack_row(group, block);
          std::memset(at(group, block, next_), 0, row_size(problem_) * sizeof(A));
        }
  }

 private:
  static int64_t row_size(const Problem<K, S>& problem) { return problem.columns * kBlock; }
  INLINE A* at(int64_t group, int64_t block, int64_t y) const {
    return sums_ + (group - task_.group) * group_size(problem_) +
           (block * problem_.reach + y % problem_.reach) * row_size(problem_);
  }
  void unpack_row(int64_t group, int64_t block) {
    const A* const from = at(group, block, next_);
    const int64_t channel = problem_.channel(group, block);
    const int64_t channels = problem_.block_channels(block);
    int64_t covered = 0;
    problem_.each_phase([&](int64_t, int64_t, int64_t count) INLINED { covered += count; });
    if (covered < problem_.width)
      view_.storage.unpack(view_.at(task_.n, channel, next_, 0), view_.w, view_.c, kZeros, 0,
                           problem_.width, channels);
    problem_.each_phase([&](int64_t packed_column, int64_t column, int64_t count) INLINED {
      view_.storage.unpack(view_.at(task_.n, channel, next_, column), problem_.step() * view_.w,
                           view_.c, from + packed_column * kBlock, kBlock, count, channels);
    });
  }

  static constexpr A kZeros[kBlock] = {};

  const Problem<K, S>& problem_;
  const View<A> view_;
  A* const sums_;
  Task task_;
  int64_t next_;
};

}  // namespace
