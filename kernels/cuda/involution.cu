// The involution and its two gradients on NVIDIA GPUs (https://arxiv.org/abs/2103.06255).
//
// N batch, C channels, G groups, K kernel size, H W input, Ho Wo output.
// input (N, C, H, W), weight (N, G*K*K, Ho, Wo), output (N, C, Ho, Wo).
//
// A module has one kernel, that of OPERATOR: with tiles in shared memory if TILED is 1, else, if no
// tile fits, straight from global memory. rednet/ops/cuda/launch_config.py sets these and the other
// macros of config.cuh. Sizes and strides are arguments, so a module serves all batches and images.
// One thread computes each sum, in a fixed order: no atomics, the same bits in every run.
//
// No CUDA header is included. NVRTC compiles the text into which source.py joins these files.

#include "config.cuh"
#include "device.cuh"
#include "problem.cuh"
#if TILED
// Not inside a branch below: source.py inserts a file only where it is first included.
#include "tiles.cuh"
#include "pixels.cuh"
#include "taps.cuh"
#include "window_row.cuh"
#include "bands.cuh"
#if OPERATOR == INVOLUTION2D_GRAD_WEIGHT || OPERATOR == SPAN_GRADIENTS
#include "tap_sums.cuh"
#endif
#if OPERATOR == INVOLUTION2D_GRAD_INPUT || OPERATOR == SPAN_GRAD_INPUT
#include "phases.cuh"
#include "covering_bands.cuh"
#endif
#if OPERATOR == INVOLUTION2D || OPERATOR == SPAN_INVOLUTION2D
#include "window_bands.cuh"
#endif
#if OPERATOR >= SPAN_INVOLUTION2D
#include "span_problem.cuh"
#endif
#if OPERATOR == SPAN_INVOLUTION2D || OPERATOR == SPAN_GRAD_INPUT
#include "span_taps.cuh"
#include "span.cuh"
#endif
#if OPERATOR == INVOLUTION2D
#include "forward.cuh"
#elif OPERATOR == INVOLUTION2D_GRAD_INPUT
#include "grad_input.cuh"
#elif OPERATOR == INVOLUTION2D_GRAD_WEIGHT
#include "grad_weight.cuh"
#elif OPERATOR == SPAN_INVOLUTION2D
#include "span_forward.cuh"
#elif OPERATOR == SPAN_GRAD_INPUT
#include "span_grad_input.cuh"
#else
#include "matrices.cuh"
#include "span_tile.cuh"
#if OPERATOR == SPAN_GRADIENTS
#include "span_gradients.cuh"
#else
#include "tap_band_pixels.cuh"
#include "tap_bands.cuh"
#include "tap_band_block.cuh"
#if OPERATOR == SPAN_GRAD_REDUCED
#include "span_grad_reduced.cuh"
#else
#include "span_grad_weight.cuh"
#endif
#endif
#endif
#else
#include "direct.cuh"
#endif
