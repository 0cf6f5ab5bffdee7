// The outputs that cover octets of pixels of a phase as banded matrices.

#pragma once

#include "bands.cuh"
#include "config.cuh"
#include "device.cuh"
#include "phases.cuh"
#include "pixels.cuh"
#include "problem.cuh"
#include "tiles.cuh"

constexpr bool IS_BANDED = HAS_OCTETS && REACH < OCTET;
using Grads = Choose<IS_BANDED, OctetTile<HEIGHT, WIDTH, COLUMNS + OCTET>,
                     PaddedTile<HEIGHT, WIDTH>>;

// One of the outputs from a pixel's place on. Tap number `index` of the phase covers the pixel, if
// any does; otherwise `offset` and `index` are those of another output.
struct CoveringOutput {
  bool covers;
  int offset, index;

  __device__ __forceinline__ explicit CoveringOutput(int wanted)
      : covers(wanted <= REACH && (REACH - wanted) % DISTANCE == 0),
        offset(covers ? wanted : REACH),
        index((REACH - offset) / DISTANCE) {}
};

// The two outputs of a lane, and the selection of their taps from two words.
struct CoveringOutputs {
  static constexpr unsigned NONE = 0x33;
  CoveringOutput first, second;
  Selector selector;

  // Of the phase's taps in a row only `count` exist.
  __device__ __forceinline__ CoveringOutputs(const Octets& octets, int count)
      : first(octets.first()),
        second(octets.first() + 4),
        selector(octets, first.covers && first.index < count ? 0x10 : NONE,
                 second.covers && second.index < count ? 0x54 : NONE, NONE) {}
};
