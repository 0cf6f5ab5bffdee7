// The tiles of pixels of all images that the blocks of a span's gradients compute.

#pragma once

#include "config.cuh"
#include "device.cuh"
#include "problem.cuh"
#include "tiles.cuh"

constexpr int AREA = K * K, TILE_PIXELS = ROWS * COLUMNS;

// A tile of ROWS x COLUMNS pixels.
struct Place {
  int image, top, left;

  __device__ Place(const Problem& problem, int tile) {
    const int columns = (problem.out_width + COLUMNS - 1) / COLUMNS;
    const int rows = (problem.out_height + ROWS - 1) / ROWS;
    left = tile % columns * COLUMNS;
    top = tile / columns % rows * ROWS;
    image = tile / columns / rows;
  }

  // Moves on by as many tiles as there are before `step`.
  __device__ __forceinline__ void move(const Problem& problem, const Place& step) {
    left += step.left, top += step.top, image += step.image;
    if (left >= problem.out_width) {
      left -= round_up(problem.out_width, COLUMNS);
      top += ROWS;
    }
    if (top >= problem.out_height) {
      top -= round_up(problem.out_height, ROWS);
      ++image;
    }
  }
};

__device__ __forceinline__ int number_of_tiles(const Problem& problem) {
  const int columns = (problem.out_width + COLUMNS - 1) / COLUMNS;
  const int rows = (problem.out_height + ROWS - 1) / ROWS;
  return problem.batch * columns * rows;
}
