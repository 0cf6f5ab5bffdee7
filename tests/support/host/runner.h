// The interface between a compiled kernel and the program that runs it on the CPU.

#pragma once

#include <stddef.h>

namespace host {

struct Index3 {
  unsigned x, y, z;
};

// The indices of the running thread, and the sizes of the launch.
extern Index3 thread_index, block_index, block_size, grid_size;

// What the library of a kernel says about it.
struct Kernel {
  void (*call)(const void* problem);
  size_t problem_size;
  unsigned launch_bounds;
  char *shared, *shared_end;  // the range of its shared arrays
};

// The running thread waits until all threads of its block wait at the same place.
void wait_at_barrier(const char* file, int line);

// The running thread shows `data` to the other lanes of its warp and waits until all have shown
// theirs. Returns what they have shown. They must meet again before one of them changes its own.
const void* const* show_to_warp(const void* data, const char* file, int line);
void wait_for_warp(const char* file, int line);

// Ends the launch if a lane's row of a matrix is not 16 aligned bytes of shared memory.
void check_row(const void* row);

// Ends the launch if the arguments of an asynchronous copy violate a GPU's requirements.
void check_copy(const void* shared, const void* global, int size);
// Returns whether the address sanitizer, if active, would report a read.
bool is_behind_the_end(const void* global);
// Delays `size` bytes until the running thread waits for them.
void copy_later(char* shared, const char* bytes, int size);
void commit_copies();
void wait_for_copies();
void wait_for_copies_but(int pending_groups);

}  // namespace host
