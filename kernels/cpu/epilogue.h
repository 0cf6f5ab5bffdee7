// What is done to each sum of an involution before it is stored: scale, shift and ReLU by channel.

#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

#include "tiles.h"
#include "vectors.h"
#include "window.h"

// Scale and shift as Python passes them: dense vectors of C elements, double if the tensors are,
// else float.
extern "C" {
struct Affine {
  const void* scale;
  const void* shift;
  int64_t relu;
};
}

namespace {

// Scale and shift as [block][16 channels]. Blocks are a group's, as in packed rows, so the last of
// a group is padded.
template <typename A> class Epilogue {
 public:
  template <int64_t K, int64_t S>
  Epilogue(const Problem<K, S>& problem, const Affine* affine)
      : given_(affine != nullptr),
        memory_(1, given_ ? 2 * Scratch::need<A>(problem.groups * problem.blocks * kBlock) : 0) {
    if (!given_ || !memory_) return;
    char* memory = memory_.of_thread(0);
    scale_ = pack(problem, affine->scale, memory);
    shift_ = pack(problem, affine->shift, memory);
    if (affine->relu) bound_ = 0;
  }

  explicit operator bool() const { return !given_ || memory_; }

  // Applies it to the sums of kOutputs neighbouring pixels, [pixel][16 channels of the block].
  INLINE void apply(int64_t block, A* sums) const {
    if (!given_) return;
    constexpr int64_t lanes = Vector<A>::lanes;
    unroll<kVectors<A>>([&](auto v) INLINED {
      const int64_t at = block * kBlock + v * lanes;
      const Vec<A> scale = load_vector(scale_ + at), shift = load_vector(shift_ + at);
      unroll<kOutputs<A>>([&](auto j) INLINED {
        A* const place = sums + j * kBlock + v * lanes;
        const Vec<A> value = load_vector(place) * scale + shift;
        store_vector(place, value <= bound_ ? Vec<A>{} : value);
      });
    });
  }

 private:
  template <int64_t K, int64_t S>
  static const A* pack(const Problem<K, S>& problem, const void* values, char*& memory) {
    const int64_t pitch = problem.blocks * kBlock, channels = problem.group_channels;
    A* const packed = Scratch::take<A>(memory, problem.groups * pitch);
    for (int64_t group = 0; group < problem.groups; ++group)
      std::memcpy(packed + group * pitch, static_cast<const A*>(values) + group * channels,
                  channels * sizeof(A));
    return packed;
  }

  const bool given_;
  const Scratch memory_;
  const A* scale_ = nullptr;
  const A* shift_ = nullptr;
  // Values up to it become zero; without a ReLU it is NaN, with which every comparison fails.
  A bound_ = std::numeric_limits<A>::quiet_NaN();
};

}  // namespace
