// Products of matrices in shared memory, by tensor cores or by single multiply-adds.
//
// A warp computes 16 x 8 sums at a time. A lane has four of them: two neighbouring columns, from
// lane % 4 * 2 on, of the rows lane / 4 and lane / 4 + 8.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "problem.cuh"

constexpr bool HAS_MATRICES = HAS_TENSOR_CORES && BYTES == 2;

__device__ __forceinline__ int lane_of_thread() { return threadIdx.x % 32; }

// Twice a number of 16 bits.
template <class Number = Storage>
__device__ __forceinline__ unsigned pair_of(float value) {
  return to_storage<Number>(value).bits * 0x10001u;
}

// The two words of a 16 x 8 matrix are `first` and `first + 1` of the four.
template <class Number = Storage>
__device__ __forceinline__ void multiply_part(float (&sums)[4], const unsigned (&left)[4],
                                              const unsigned (&right)[4], int first) {
  multiply_tiles<Number>(sums, left, {right[first], right[first + 1]});
}

// Loads 16 x 16 elements of a left matrix, of which element (row, k) is data[k * pitch + row].
__device__ __forceinline__ void load_left(unsigned (&left)[4], const Storage* data, int pitch) {
  const int lane = lane_of_thread();
  load_matrices<true>(left, data + (lane % 8 + lane / 16 * 8) * pitch + lane / 8 % 2 * 8);
}

// sums += left * right, of 16 rows and 8 * COLUMNS_ columns, over 16 * STEPS products each.
// Element (row, k) of `left` is left[k * LEFT + row], (k, column) of `right` is
// right[k * RIGHT + column].
template <int STEPS, int LEFT, int RIGHT, int COUNT>
__device__ __forceinline__ void multiply_rows(float (&sums)[COUNT][4], const Storage* left,
                                              const Storage* right) {
  const int lane = lane_of_thread();
  if constexpr (HAS_MATRICES) {
    static_assert(COUNT % 2 == 0, "two matrices are loaded at once");
    const Storage* from = right + (lane % 8 + lane / 8 % 2 * 8) * RIGHT + lane / 16 * 8;
#pragma unroll
    for (int step = 0; step < STEPS; ++step) {
      unsigned rows[4];
      load_left(rows, left + 16 * step * LEFT, LEFT);
#pragma unroll
      for (int i = 0; i < COUNT; i += 2) {
        unsigned columns[4];
        load_matrices<true>(columns, from + 16 * step * RIGHT + 8 * i);
        multiply_part(sums[i], rows, columns, 0);
        multiply_part(sums[i + 1], rows, columns, 2);
      }
    }
  } else {
#pragma unroll 2
    for (int k = 0; k < 16 * STEPS; ++k) {
      const Storage* rows = left + k * LEFT + lane / 4;
      const float first = to_real(rows[0]), second = to_real(rows[8]);
#pragma unroll
      for (int i = 0; i < COUNT; ++i) {
        const Storage* columns = right + k * RIGHT + 8 * i + lane % 4 * 2;
        const float one = to_real(columns[0]), other = to_real(columns[1]);
        sums[i][0] = multiply_add(first, one, sums[i][0]);
        sums[i][1] = multiply_add(first, other, sums[i][1]);
        sums[i][2] = multiply_add(second, one, sums[i][2]);
        sums[i][3] = multiply_add(second, other, sums[i][3]);
      }
    }
  }
}

// sums += left * right, of 16 * COUNT rows and 8 columns, over 32 * STEPS products each, and
// totals += the sums of the columns of `right`, in every row. Element (row, k) of `left` is
// left[k * LEFT + row], (k, column) of `right` is right[column * RIGHT + k].
template <int STEPS, int LEFT, int RIGHT, int COUNT>
__device__ __forceinline__ void multiply_columns(float (&sums)[COUNT][4], float (&totals)[4],
                                                 const Storage* left, const Storage* right) {
  const int lane = lane_of_thread();
  if constexpr (HAS_MATRICES) {
    const unsigned pair = pair_of(1.0f);
    const unsigned ones[4] = {pair, pair, pair, pair};
    const Storage* from = right + lane % 8 * RIGHT + lane / 8 * 8;
#pragma unroll(COUNT <= 2 ? STEPS : 1)
    for (int step = 0; step < STEPS; ++step) {
      unsigned columns[4];
      load_matrices<false>(columns, from + 32 * step);
#pragma unroll
      for (int part = 0; part < 2; ++part) {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
          unsigned rows[4];
          load_left(rows, left + (32 * step + 16 * part) * LEFT + 16 * i, LEFT);
          multiply_part(sums[i], rows, columns, 2 * part);
        }
        multiply_part(totals, ones, columns, 2 * part);
      }
    }
  } else {
    const Storage* columns = right + lane % 4 * 2 * RIGHT;
#pragma unroll 2
    for (int k = 0; k < 32 * STEPS; ++k) {
      const float one = to_real(columns[k]), other = to_real(columns[RIGHT + k]);
#pragma unroll
      for (int i = 0; i < COUNT; ++i) {
        const Storage* rows = left + k * LEFT + 16 * i + lane / 4;
        const float first = to_real(rows[0]), second = to_real(rows[8]);
        sums[i][0] = multiply_add(first, one, sums[i][0]);
        sums[i][1] = multiply_add(first, other, sums[i][1]);
        sums[i][2] = multiply_add(second, one, sums[i][2]);
        sums[i][3] = multiply_add(second, other, sums[i][3]);
      }
      totals[0] += one;
      totals[1] += other;
    }
  }
}
