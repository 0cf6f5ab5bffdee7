// The involution and its two gradients on NVIDIA GPUs (https://arxiv.org/abs/2103.06255).
//
// N batch, C channels, G groups, K kernel size, H W input, Ho Wo output.
// input (N, C, H, W), weight (N, G*K*K, Ho, Wo), output (N, C, Ho, Wo).
//
// A module holds one kernel: that of OPERATOR, by tiles in shared memory where TILED is 1, straight
// from global memory where a tile would not fit. rednet/ops/cuda/plan.py sets these and the other
// macros; sizes and strides are arguments, so that a module serves every batch and every image.
// Every sum is made by one thread in one order: no atomics, the same bits in every run.
//
// No header of CUDA is included: NVRTC alone compiles this text, after source.py has joined it.

#include "config.cuh"
#include "device.cuh"
#include "problem.cuh"
#if TILED
// Here and not in a branch: source.py puts a file only where it is first included.
#include "tiles.cuh"
#include "pixels.cuh"
#include "taps.cuh"
#if OPERATOR == INVOLUTION2D
#include "forward.cuh"
#elif OPERATOR == INVOLUTION2D_GRAD_INPUT
#include "grad_input.cuh"
#else
#include "grad_weight.cuh"
#endif
#else
#include "direct.cuh"
#endif
