// A kernel's argument, three tensors of any strides and their sizes, and access to its elements.

#pragma once

#include "config.cuh"
#include "device.cuh"

constexpr int THREADS = BLOCK_THREADS;
constexpr int K = KERNEL_SIZE, S = STRIDE, D = DILATION;

using Storage = STORAGE;                    // in memory
using Real = decltype(to_real(Storage()));  // in registers
#if WIDE_INDEX
using Index = unsigned long long;  // bytes inside an image
#else
using Index = unsigned;
#endif
using Address = unsigned long long;

constexpr int BYTES = sizeof(Storage);

template <bool CONDITION, class Yes, class No>
struct Conditional {
  using Type = Yes;
};
template <class Yes, class No>
struct Conditional<false, Yes, No> {
  using Type = No;
};
template <bool CONDITION, class Yes, class No>
using Choose = typename Conditional<CONDITION, Yes, No>::Type;

// How a tensor lies in memory, which decides how neighbouring threads share the work.
enum Order {
  ALIGNED,     // PACKED, and all pixels, or all kernels, have the same alignment
  PACKED,      // channels are contiguous, 16 bytes are fetched at once
  BY_CHANNEL,  // neighbouring threads fetch the channels of a pixel
  BY_COLUMN,   // neighbouring threads fetch the pixels of a row
};

// Strides are in bytes.
struct Tensor {
  void* data;
  long long batch, channel, row, column;
};

// `first` and `second` are the operator's arguments, in the order of rednet/ops/involution.py.
struct Problem {
  Tensor first, second, result;
  int batch, channels, groups;
  int height, width, out_height, out_width;
  int padding;
};

// One image of a tensor, starting at one channel.
struct Plane {
  char* data;
  Index channel, row, column;
  int height, width;

  __device__ Plane(const Tensor& tensor, int image, int first_channel, int height, int width)
      : data(static_cast<char*>(tensor.data) +
             (image * tensor.batch + first_channel * tensor.channel)),
        channel(tensor.channel),
        row(tensor.row),
        column(tensor.column),
        height(height),
        width(width) {}

  __device__ __forceinline__ bool has_row(int y) const {
    return static_cast<unsigned>(y) < static_cast<unsigned>(height);
  }
  __device__ __forceinline__ bool has_column(int x) const {
    return static_cast<unsigned>(x) < static_cast<unsigned>(width);
  }
  __device__ __forceinline__ bool has(int y, int x) const { return has_row(y) && has_column(x); }

  __device__ __forceinline__ Index offset(int c, int y, int x) const {
    return c * channel + y * row + x * column;
  }

  __device__ __forceinline__ Storage* at(int c, int y, int x) const {
    return reinterpret_cast<Storage*>(data + offset(c, y, x));
  }
};

// Values that one instruction moves.
template <int COUNT>
struct alignas(COUNT* BYTES <= 16 ? COUNT * BYTES : 16) Pack {
  Storage values[COUNT];
};

// Reads COUNT neighbouring channels from c on, one by one; zeros if not `inside`.
template <int COUNT>
__device__ __forceinline__ Pack<COUNT> gather(const Plane& plane, int c, int y, int x,
                                              bool inside) {
  Pack<COUNT> pack;
  const char* from = plane.data + plane.offset(c, y, x);
#pragma unroll
  for (int i = 0; i < COUNT; ++i) {
    pack.values[i] = inside ? *reinterpret_cast<const Storage*>(from) : Storage{};
    from += plane.channel;
  }
  return pack;
}

template <int COUNT>
__device__ __forceinline__ void load(Real (&reals)[COUNT], const Storage* from) {
  const Pack<COUNT> pack = *reinterpret_cast<const Pack<COUNT>*>(from);
#pragma unroll
  for (int i = 0; i < COUNT; ++i) reals[i] = to_real(pack.values[i]);
}

// Writes COUNT neighbouring channels of a pixel, from c on.
template <int ORDER, int COUNT>
__device__ __forceinline__ void put(const Plane& plane, int c, int y, int x,
                                    const Real (&reals)[COUNT]) {
  Pack<COUNT> pack;
#pragma unroll
  for (int i = 0; i < COUNT; ++i) pack.values[i] = to_storage<Storage>(reals[i]);
  if constexpr (ORDER <= PACKED) {
    *reinterpret_cast<Pack<COUNT>*>(plane.at(0, y, x) + c) = pack;
  } else {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) *plane.at(c + i, y, x) = pack.values[i];
  }
}
