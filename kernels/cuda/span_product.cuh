// A block's taps by single multiply-adds.
//
// A thread computes a row of taps of PIXELS outputs at a time. Elements of the reduced images and
// of the weight come from the L1 cache; each is used for all taps, or all outputs, of the thread.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "problem.cuh"
#include "span_problem.cuh"
#include "span_taps.cuh"
#include "tiles.cuh"

template <class Taps, int ORDER>
struct SpanProduct {
  static constexpr int COUNT = Taps::COUNT, WIDTH = Taps::WIDTH;
  static constexpr int VECTOR = ORDER == ALIGNED ? VECTOR_BYTES / BYTES : 1;
  static constexpr int PIXELS = COUNT <= 9 ? 4 : 2;  // as there are registers for their sums
  // The outputs of a row of taps are those of ROWS rows. A thread's lie TEAM apart.
  static constexpr int TEAM = (ROWS * WIDTH + PIXELS - 1) / PIXELS;

  __device__ static __forceinline__ void make(const Taps& taps, const Plane& reduced,
                                              const Span& span, const Corner& corner) {
#pragma unroll 1
    for (int item = threadIdx.x; item < COUNT * TEAM; item += THREADS)
      make_row(taps, reduced, span, corner, item / TEAM, item % TEAM);
  }

  // Makes row i of the taps, of the outputs `first`, first + TEAM, ...
  __device__ static __forceinline__ void make_row(const Taps& taps, const Plane& reduced,
                                                  const Span& span, const Corner& corner, int i,
                                                  int first) {
    const int above = Taps::REACH - i * Taps::DISTANCE;
    int y[PIXELS], x[PIXELS];
    bool inside[PIXELS];
    const char* from[PIXELS];
#pragma unroll
    for (int pixel = 0; pixel < PIXELS; ++pixel) {
      const int number = first + pixel * TEAM;
      y[pixel] = number / WIDTH + above, x[pixel] = number % WIDTH;
      inside[pixel] = number < ROWS * WIDTH &&
                      reduced.has(corner.top + y[pixel], corner.left + x[pixel]);
      from[pixel] = reduced.data + reduced.offset(0, corner.top + y[pixel], corner.left + x[pixel]);
    }
    Real sums[PIXELS][COUNT];
#pragma unroll
    for (int j = 0; j < COUNT; ++j) {
      const int tap = corner.tap<Taps>(i, j);
      const Real start = tap < 0 ? Real(0) : span.summand(tap);
#pragma unroll
      for (int pixel = 0; pixel < PIXELS; ++pixel) sums[pixel][j] = start;
    }
#pragma unroll 1
    for (int d = 0; d < DEPTH; d += VECTOR) add(sums, reduced, span, corner, i, d, from, inside);
#pragma unroll
    for (int pixel = 0; pixel < PIXELS; ++pixel) {
      if (first + pixel * TEAM >= ROWS * WIDTH) continue;
#pragma unroll
      for (int j = 0; j < COUNT; ++j)
        taps.put(i, j, y[pixel], x[pixel],
                 inside[pixel] ? to_storage<Storage>(sums[pixel][j]) : Storage{});
    }
  }

  // Adds the products of VECTOR channels from d on.
  __device__ static __forceinline__ void add(Real (&sums)[PIXELS][COUNT], const Plane& reduced,
                                             const Span& span, const Corner& corner, int i, int d,
                                             const char* const (&from)[PIXELS],
                                             const bool (&inside)[PIXELS]) {
    Pack<VECTOR> factors[COUNT], values[PIXELS];
#pragma unroll
    for (int j = 0; j < COUNT; ++j) {
      const int tap = corner.tap<Taps>(i, j);
      factors[j] = read<ORDER, VECTOR>(span.factors(tap) + d * span.column, span.column,
                                       tap < 0 ? 0 : VECTOR);
    }
#pragma unroll
    for (int pixel = 0; pixel < PIXELS; ++pixel)
      values[pixel] = read<ORDER, VECTOR>(from[pixel] + d * reduced.channel, reduced.channel,
                                          inside[pixel] ? VECTOR : 0);
#pragma unroll
    for (int part = 0; part < VECTOR; ++part) {
#pragma unroll
      for (int j = 0; j < COUNT; ++j) {
        const Real factor = to_real(factors[j].values[part]);
#pragma unroll
        for (int pixel = 0; pixel < PIXELS; ++pixel)
          sums[pixel][j] =
              multiply_add(factor, to_real(values[pixel].values[part]), sums[pixel][j]);
      }
    }
  }
};
