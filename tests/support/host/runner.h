// What a compiled kernel and the program that runs it on the CPU know of each other.

#pragma once

#include <stddef.h>

namespace host {

struct Index3 {
  unsigned x, y, z;
};

// Of the thread that runs, and of the launch.
extern Index3 thread_index, block_index, block_size, grid_size;

// What a library of one kernel tells of it.
struct Kernel {
  void (*call)(const void* problem);
  size_t problem_size;
  unsigned launch_bounds;
  char *shared, *shared_end;  // where all its shared arrays are
};

// The running thread waits until all threads of its block wait at the same place.
void wait_at_barrier(const char* file, int line);

// Ends the launch unless the arguments of an asynchronous copy are what a GPU demands.
void check_copy(const void* shared, const void* global, int size);
// Whether the address sanitizer, where it watches, would report a read.
bool is_behind_the_end(const void* global);
// Keeps `size` bytes back until the running thread waits for them.
void copy_later(char* shared, const char* bytes, int size);
void commit_copies();
void wait_for_copies();
void wait_for_copies_but(int pending_groups);

}  // namespace host
