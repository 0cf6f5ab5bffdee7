// Tensors of any strides and dtype, and packing parts of them into small buffers.
//
// The kernels only see packed rows and columns of A (float, or double for double). Two functions
// know how a tensor is stored. The kernels call them by address, so they are compiled once per
// dtype.

#pragma once

#include <algorithm>
#include <cstdint>

#include "vectors.h"

// A tensor as Python passes it; strides of N, C, H, W in elements.
extern "C" {
struct Tensor {
  void* data;
  int64_t strides[4];
};
}

namespace {

// packed[row * pitch + column] = memory[row * row_stride + column * column_stride]
// The elements between the last column and the next whole vector are overwritten: by anything if
// `overread` allows reading as far in memory, else at most by zeros.
template <typename T, typename A>
void pack(A* packed, int64_t pitch, const void* memory, int64_t row_stride, int64_t column_stride,
          int64_t rows, int64_t columns, bool overread) {
  constexpr int64_t lanes = Vector<A>::lanes;
  const T* const source = static_cast<const T*>(memory);
  const bool transposed = row_stride == 1 && column_stride != 1;
  const int64_t squares = transposed ? rows - rows % lanes : 0;
  for (int64_t row = 0; row < squares; row += lanes)
    for (int64_t column = 0; column < columns; column += lanes) {
      const T* const from = source + row + column * column_stride;
      A* const to = packed + row * pitch + column;
      Vec<A> square[lanes] = {};
      unroll<lanes>([&](auto i) INLINED {
        if (column + i < columns) square[i] = load_vector(from + i * column_stride);
      });
      transpose<A>(square);
      unroll<lanes>([&](auto i) INLINED { store_vector(to + i * pitch, square[i]); });
    }
  const int64_t whole = overread ? round_up(columns, lanes) : columns - columns % lanes;
  const int64_t vectors = column_stride == 1 ? whole : 0;
  for (int64_t row = squares; row < rows; ++row) {
    const T* const from = source + row * row_stride;
    A* const to = packed + row * pitch;
    for (int64_t column = 0; column < vectors; column += lanes)
      store_vector(to + column, load_vector(from + column));
    for (int64_t column = vectors; column < columns; ++column)
      to[column] = load(from + column * column_stride);
  }
}

// memory[row * row_stride + column * column_stride] = packed[row * pitch + column]
// Packed rows are read up to the next whole vector.
template <typename T, typename A>
void unpack(void* memory, int64_t row_stride, int64_t column_stride, const A* packed, int64_t pitch,
            int64_t rows, int64_t columns) {
  constexpr int64_t lanes = Vector<A>::lanes;
  T* const target = static_cast<T*>(memory);
  const bool transposed = row_stride == 1 && column_stride != 1;
  const int64_t squares = transposed ? rows - rows % lanes : 0;
  for (int64_t row = 0; row < squares; row += lanes)
    for (int64_t column = 0; column < columns; column += lanes) {
      const A* const from = packed + row * pitch + column;
      T* const to = target + row + column * column_stride;
      Vec<A> square[lanes];
      unroll<lanes>([&](auto i) INLINED { square[i] = load_vector(from + i * pitch); });
      transpose<A>(square);
      unroll<lanes>([&](auto i) INLINED {
        if (column + i < columns) store_vector(to + i * column_stride, square[i]);
      });
    }
  const int64_t vectors = column_stride == 1 ? columns - columns % lanes : 0;
  for (int64_t row = squares; row < rows; ++row) {
    T* const to = target + row * row_stride;
    const A* const from = packed + row * pitch;
    for (int64_t column = 0; column < vectors; column += lanes)
      store_vector(to + column, load_vector(from + column));
    for (int64_t column = vectors; column < columns; ++column)
      store(to + column * column_stride, from[column]);
  }
}

// The storage of elements that are A in registers.
template <typename A> struct Storage {
  int64_t bytes;
  decltype(&pack<A, A>) pack;
  decltype(&unpack<A, A>) unpack;
};
template <typename T, typename A>
constexpr Storage<A> kStorage = {sizeof(T), pack<T, A>, unpack<T, A>};

template <typename A> struct View {
  const Storage<A>& storage;
  char* data;
  int64_t n, c, h, w;

  View(const Tensor& tensor, const Storage<A>& storage)
      : storage(storage), data(static_cast<char*>(tensor.data)), n(tensor.strides[0]),
        c(tensor.strides[1]), h(tensor.strides[2]), w(tensor.strides[3]) {}

  char* at(int64_t in, int64_t ic, int64_t ih, int64_t iw) const {
    return data + (in * n + ic * c + ih * h + iw * w) * storage.bytes;
  }
};

// The rows of tensors that the next row of outputs needs. They are prefetched in parts while the
// current row is computed, so that memory and core work at the same time.
class Ahead {
 public:
  explicit Ahead(int64_t parts) : parts_(parts) {}

  template <typename A>
  void will_read(const View<A>& view, int64_t n, int64_t row, int64_t columns) {
    add(view, n, row, columns, false);
  }
  template <typename A>
  void will_write(const View<A>& view, int64_t n, int64_t row, int64_t columns) {
    add(view, n, row, columns, true);
  }

  // Prefetches the next of `parts` parts.
  INLINE void ask() {
    for (int i = 0; i < count_; ++i) {
      Row& row = rows_[i];
      for (char* const stop = std::min(row.next + row.part, row.end); row.next < stop;
           row.next += kLine)
        row.to_write ? __builtin_prefetch(row.next, 1, 2) : __builtin_prefetch(row.next, 0, 2);
    }
  }

 private:
  static constexpr int64_t kLine = 64;
  static constexpr int kRows = 4;
  struct Row {
    char *next, *end;
    int64_t part;
    bool to_write;
  };

  template <typename A>
  void add(const View<A>& view, int64_t n, int64_t row, int64_t columns, bool to_write) {
    if (view.c != 1 || count_ == kRows) return;
    char* const data = view.at(n, 0, row, 0);
    const int64_t size = columns * view.w * view.storage.bytes;
    rows_[count_++] = {data, data + size, round_up(divide_up(size, parts_), kLine), to_write};
  }

  const int64_t parts_;
  int count_ = 0;
  Row rows_[kRows];
};

}  // namespace
