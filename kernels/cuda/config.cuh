// The macros that configure a module; rednet/ops/cuda/launch_config.py sets them.

#pragma once

// Values of OPERATOR.
#define INVOLUTION2D 0
#define INVOLUTION2D_GRAD_INPUT 1
#define INVOLUTION2D_GRAD_WEIGHT 2
#define SPAN_INVOLUTION2D 3
#define SPAN_GRAD_INPUT 4
#define SPAN_GRADIENTS 5
#define SPAN_GRAD_REDUCED 6
#define SPAN_GRAD_WEIGHT 7

// For an editor, which sets no macros: the kernels of a 7 x 7 window.
#ifndef OPERATOR
#define OPERATOR INVOLUTION2D
#define STORAGE BFloat16
#define KERNEL_SIZE 7
#define STRIDE 1
#define DILATION 1
#define GROUP_WIDTH 16
#define BLOCK_THREADS 224
#define TILED 1
#define TILE_ROWS 8
#define TILE_COLUMNS 16
#define TILE_CHANNELS 16
#define STRIP_COLUMNS 4
#define THREAD_CHANNELS 4
#define FIRST_ORDER ALIGNED
#define SECOND_ORDER PACKED
#define RESULT_ORDER PACKED
#define WIDE_INDEX 0
#define REDUCED_CHANNELS 16
#define GROUP_CHUNK 4
#define DEPTH_CHUNK 16
#define RESULT_IS_FLOAT 0
#endif
