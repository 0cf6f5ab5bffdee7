// The sizes of a call: the sliding window over packed rows, and the division into tasks.
//
// N batch, C channels, G groups, K kernel size, H W input, Ho Wo output. A row of pixels is packed
// as [columns][16 channels] with zeros beyond the edges. At stride s, the columns are sorted by
// their remainder modulo s, so that the pixels that a tap reads for neighbouring outputs are
// neighbours.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "vectors.h"

// The sizes as Python passes them.
extern "C" {
struct Shape {
  int64_t batch, channels, groups, height, width, out_height, out_width;
  int64_t kernel_size, stride, padding, dilation;
};
}

namespace {

constexpr int64_t kBlock = 16;              // channels of a packed pixel
constexpr int64_t kTile = 16;               // pixels whose kernels are packed at a time
constexpr int64_t kCacheBytes = 512 << 10;  // of packed rows, to stay in a core's cache

// How the kernels of a tile lie in memory.
enum class Order { kPixelTap, kTapPixel };

// With K, S > 0, kernel size and stride are compile-time constants and the dilation is 1.
template <int64_t K, int64_t S> struct Problem : Shape {
  int64_t group_channels, blocks;  // of a group: channels, and blocks of 16 channels
  int64_t reach;                   // rows from the first tap to the last, inclusive
  int64_t phases, phase;           // remainders of columns modulo the stride, columns of each
  int64_t columns;                 // of a packed row of the input
  int64_t out_columns;             // of a packed row of the output

  // Rows are packed and computed in multiples of `granularity` columns.
  Problem(const Shape& shape, int64_t granularity) : Shape(shape) {
    group_channels = channels / groups;
    blocks = divide_up(group_channels, kBlock);
    reach = gap() * (size() - 1) + 1;
    out_columns = round_up(out_width, granularity);
    phases = std::min(step(), reach);
    phase = round_up(out_columns + (reach - 1) / step() + 1, granularity);
    columns = phases * phase + granularity;
  }

  INLINE int64_t size() const { return K ? K : kernel_size; }
  INLINE int64_t step() const { return S ? S : stride; }
  INLINE int64_t gap() const { return K ? 1 : dilation; }
  INLINE int64_t taps() const { return size() * size(); }
  // The distance of two packed kernels.
  INLINE int64_t pitch() const { return round_up(taps(), kTile); }
  // The distances of pixels and of taps in a tile of kernels.
  INLINE int64_t pixel_pitch(Order order) const { return order == Order::kPixelTap ? pitch() : 1; }
  INLINE int64_t tap_pitch(Order order) const { return order == Order::kPixelTap ? 1 : kTile; }
  // The column, in a packed row, that tap kw reads for the first output.
  INLINE int64_t offset(int64_t kw) const {
    return kw * gap() % step() * phase + kw * gap() / step();
  }
  // The row that the taps kh of a row of outputs read; it may be outside the image.
  INLINE int64_t row(int64_t out_row, int64_t kh) const {
    return out_row * step() + kh * gap() - padding;
  }
  int64_t channel(int64_t group, int64_t block) const {
    return group * group_channels + block * kBlock;
  }
  int64_t block_channels(int64_t block) const {
    return std::min(kBlock, group_channels - block * kBlock);
  }

  // Calls body(packed column, image column, count) for each run of columns inside the image.
  template <typename F> INLINE void each_phase(F&& body) const {
    for (int64_t remainder = 0; remainder < phases; ++remainder) {
      const int64_t left = padding - remainder;
      const int64_t first = left > 0 ? divide_up(left, step()) : 0;
      const int64_t end = left + width > 0 ? divide_up(left + width, step()) : 0;
      const int64_t last = std::min(end, phase);
      if (first < last) body(remainder * phase + first, first * step() - left, last - first);
    }
  }

  // Calls body(y) for each row, from `first` on, by which the windows of two neighbouring rows of
  // outputs differ, if it is inside the image.
  template <typename F> INLINE void each_new_row(int64_t first, F&& body) const {
    const int64_t end = std::min(first + step(), height);
    for (int64_t y = std::max<int64_t>(first, 0); y < end; ++y) body(y);
  }
};

// The division of images x groups x rows into tasks.
struct Plan {
  int64_t groups, chunks;  // groups of a task, and tasks that cover all groups
  int64_t rows, bands;     // rows of a task, and tasks that cover all rows
  int64_t tasks;

  Plan(const Shape& shape, int64_t all_rows, int64_t reach, int64_t group_bytes, int threads) {
    const int64_t wanted = threads == 1 ? 1 : divide_up(4 * threads, shape.batch);
    bands = std::clamp<int64_t>(all_rows / (2 * reach), 1, wanted);
    rows = divide_up(all_rows, bands);
    bands = divide_up(all_rows, rows);
    const int64_t cached = std::max<int64_t>(1, kCacheBytes / group_bytes);
    chunks = std::max(divide_up(shape.groups, cached), divide_up(wanted, bands));
    groups = divide_up(shape.groups, std::min(chunks, shape.groups));
    chunks = divide_up(shape.groups, groups);
    tasks = shape.batch * chunks * bands;
  }
};

struct Task {
  int64_t n, group, end_group, row, end_row;

  Task() = default;
  Task(const Plan& plan, const Shape& shape, int64_t all_rows, int64_t index) {
    const int64_t band = index % plan.bands, chunk = index / plan.bands % plan.chunks;
    n = index / plan.bands / plan.chunks;
    group = chunk * plan.groups;
    end_group = std::min(group + plan.groups, shape.groups);
    row = band * plan.rows;
    end_row = std::min(row + plan.rows, all_rows);
  }
};

// Zeroed memory for each thread, in cache lines of its own, from which arrays are taken.
class Scratch {
 public:
  static constexpr int64_t kAlignment = 64;

  Scratch(int threads, int64_t bytes)
      : bytes_(round_up(bytes, 4096)), memory_(std::aligned_alloc(4096, threads * bytes_)) {}
  ~Scratch() { std::free(memory_); }
  Scratch(const Scratch&) = delete;
  explicit operator bool() const { return memory_ != nullptr; }

  char* of_thread(int thread) const {
    char* const memory = static_cast<char*>(memory_) + thread * bytes_;
    std::memset(memory, 0, bytes_);
    return memory;
  }
  // Bytes of an array of as many elements.
  template <typename T> static int64_t need(int64_t elements) {
    return round_up(elements * sizeof(T), kAlignment);
  }
  template <typename T> static T* take(char*& memory, int64_t elements) {
    T* const taken = reinterpret_cast<T*>(memory);
    memory += need<T>(elements);
    return taken;
  }

 private:
  int64_t bytes_;
  void* memory_;
};

}  // namespace
