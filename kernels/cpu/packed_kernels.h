// The kernels of a tensor (N, G*K*K, Ho, Wo), packed a tile at a time.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "tensors.h"
#include "tiles.h"
#include "vectors.h"
#include "window.h"

namespace {

// A tile is the kernels of a group for kTile neighbouring pixels of a row, [pixel][tap].
template <typename A, int64_t K, int64_t S> class PackedKernels {
 public:
  static constexpr Order kOrder = Order::kPixelTap;

  PackedKernels(const Problem<K, S>& problem, const View<A>& weight)
      : problem_(problem), weight_(weight) {}

  // Elements of memory that a thread needs.
  int64_t memory() const { return kTile * problem_.pitch(); }

  void will_read(Ahead& ahead, const Task& task, int64_t i) const {
    ahead.will_read(weight_, task.n, i, problem_.out_width);
  }
  void begin_row(A*, const Task&, int64_t) const {}

  // Returns the tile that starts at (i, j). Pixels beyond the end of the row, which fill the last
  // vector, get zeros.
  const A* tile(A* memory, const Task& task, int64_t group, int64_t i, int64_t j) const {
    const int64_t count = std::min(kTile, problem_.out_width - j), pitch = problem_.pitch();
    const char* const from = weight_.at(task.n, group * problem_.taps(), i, j);
    const char* const last =
        weight_.at(problem_.batch - 1, problem_.groups * problem_.taps() - 1,
                   problem_.out_height - 1, problem_.out_width - 1);
    const int64_t read = ((count - 1) * weight_.w + pitch - 1) * weight_.storage.bytes;
    weight_.storage.pack(memory, pitch, from, weight_.w, weight_.c, count, problem_.taps(),
                         from + read <= last);
    const int64_t computed = round_up(count, kOutputs<A>);
    std::memset(memory + count * pitch, 0, (computed - count) * pitch * sizeof(A));
    return memory;
  }

 private:
  const Problem<K, S>& problem_;
  const View<A> weight_;
};

}  // namespace
