// Runs a kernel on the CPU: one block after the other, its threads in turn.
//
// A thread runs until it waits or ends; then another one runs. It waits for its block at a barrier
// and for its warp where lanes exchange data. Of the warps that wait for themselves only, one runs
// as far as it can before the next one; all run a first time before that. The order of the threads
// is random and drawn again whenever some go on, that of the warps at every barrier, that of the
// blocks once.
// Shared memory is filled with NaN when a block starts.

#include "runner.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <numeric>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "copies.h"
#include "faults.h"
#include "fibers.h"

namespace host {

Index3 thread_index, block_index, block_size, grid_size;

namespace {

constexpr unsigned kMostThreads = 1024, kWarp = 32;
constexpr long long kMostBlocks[] = {0x7fffffff, 0xffff, 0xffff};
constexpr size_t kMostSharedBytes = 48 << 10;

// The place where a thread has stopped: a barrier, an exchange in its warp, or its end.
struct Stop {
  const char* file;
  int line;
  bool for_warp = false;

  bool operator==(const Stop& other) const {
    return line == other.line && std::strcmp(file, other.file) == 0;
  }
};
constexpr Stop kEnd = {"", 0};

struct Thread {
  Fiber fiber;
  Stop stop;
  Copies copies;
};

struct Launch {
  const Kernel* kernel;
  std::vector<std::max_align_t> problem;
  std::mt19937_64 random;
  std::vector<unsigned> all, order;  // the threads, and those that run now, in their order
  std::vector<unsigned> warps;       // in their order
  size_t turn;
  std::string error;
};

Fiber caller;
std::deque<Thread> threads;  // as many as any launch had, for their stacks
Launch launch;

Thread& running() { return threads[thread_index.x]; }

std::string text(const Index3& index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " +
         std::to_string(index.z) + ")";
}

// Ends the launch.
[[noreturn]] void fail(const std::string& what) {
  launch.error = "block " + text(block_index) + ", " + what;
  running().fiber.switch_to(caller);
  std::abort();
}

void fail_here(const std::string& what) {
  fail("thread " + std::to_string(thread_index.x) + ": " + what);
}

std::string report(unsigned thread) {
  const Stop& stop = threads[thread].stop;
  const std::string what =
      stop == kEnd ? "has ended"
                   : std::string("waits at ") + stop.file + ":" + std::to_string(stop.line);
  return "thread " + std::to_string(thread) + " " + what;
}

void check_that_all_met() {
  for (unsigned i = 1; i < block_size.x; ++i)
    if (!(threads[i].stop == threads[0].stop))
      fail("a barrier that not all threads reach: " + report(0) + ", " + report(i));
}

void check_that_warps_met() {
  for (unsigned i = 0; i < block_size.x; ++i) {
    const unsigned first = i / kWarp * kWarp;
    if (!(threads[i].stop == threads[first].stop))
      fail("an exchange that not all lanes of a warp reach: " + report(first) + ", " + report(i));
  }
}

// Returns the threads of the first warp that waits for itself only; all such warps have met.
std::vector<unsigned> next_warp() {
  bool is_any = false;
  for (const unsigned i : launch.all) is_any |= threads[i].stop.for_warp;
  if (!is_any) return {};
  check_that_warps_met();
  for (const unsigned warp : launch.warps) {
    const unsigned first = warp * kWarp, end = std::min(first + kWarp, block_size.x);
    if (threads[first].stop.for_warp)
      return {launch.all.begin() + first, launch.all.begin() + end};
  }
  return {};
}

Fiber& begin_turn() {
  thread_index.x = launch.order[launch.turn];
  return running().fiber;
}

Fiber& begin_round(const std::vector<unsigned>& threads_of_round) {
  launch.order = threads_of_round;
  std::shuffle(launch.order.begin(), launch.order.end(), launch.random);
  launch.turn = 0;
  return begin_turn();
}

Fiber& begin_round_of_all() {
  std::shuffle(launch.warps.begin(), launch.warps.end(), launch.random);
  return begin_round(launch.all);
}

// Returns who runs when all that ran have stopped: a warp that waits for nobody else, or the block.
Fiber& next_round() {
  const std::vector<unsigned> warp = next_warp();
  if (!warp.empty()) return begin_round(warp);
  check_that_all_met();
  return threads[0].stop == kEnd ? caller : begin_round_of_all();
}

// Lets the other threads run until the current one may continue.
void stop_at(const Stop& stop) {
  Fiber& fiber = running().fiber;
  running().stop = stop;
  if (++launch.turn < launch.order.size()) {
    fiber.switch_to(begin_turn());
    return;
  }
  Fiber& next = next_round();
  if (&next != &fiber) fiber.switch_to(next);
}

// The body of a thread: one block after the other.
void run_thread() {
  for (;;) {
    launch.kernel->call(launch.problem.data());
    if (!running().copies.empty()) fail_here("ended without waiting for its copies");
    stop_at(kEnd);
  }
}

// Not by memset: the address sanitizer would report its writes to the zones around arrays.
void poison_shared() {
  volatile char* const end = launch.kernel->shared_end;
  for (volatile char* byte = launch.kernel->shared; byte != end; ++byte) *byte = -1;
}

void run_block(const Index3& index) {
  block_index = index;
  poison_shared();
  for (unsigned i = 0; i < block_size.x; ++i) threads[i].copies.clear();
  caller.switch_to(begin_round_of_all());
}

void run_grid() {
  const auto [columns, rows, layers] = grid_size;
  std::vector<size_t> order(size_t{columns} * rows * layers);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), launch.random);
  for (const size_t i : order) {
    run_block({static_cast<unsigned>(i % columns), static_cast<unsigned>(i / columns % rows),
               static_cast<unsigned>(i / columns / rows)});
    if (!launch.error.empty()) throw std::runtime_error(launch.error);
  }
}

void start_threads() {
  while (threads.size() < block_size.x) threads.emplace_back();
  launch.all.resize(block_size.x);
  std::iota(launch.all.begin(), launch.all.end(), 0);
  launch.warps.resize((block_size.x + kWarp - 1) / kWarp);
  std::iota(launch.warps.begin(), launch.warps.end(), 0);
  for (unsigned i = 0; i < block_size.x; ++i) threads[i].fiber.start(run_thread);
}

void check_launch(const Kernel& kernel, const long long (&blocks)[3], long long size,
                  size_t problem_size) {
  for (int i = 0; i < 3; ++i)
    if (blocks[i] < 1 || blocks[i] > kMostBlocks[i])
      throw std::runtime_error("no GPU takes " + std::to_string(blocks[i]) + " blocks in " +
                               "direction " + "xyz"[i] + " of a grid");
  if (size < 1 || size > std::min(kernel.launch_bounds, kMostThreads))
    throw std::runtime_error("a block of " + std::to_string(size) +
                             " threads for __launch_bounds__(" +
                             std::to_string(kernel.launch_bounds) + ")");
  // The zones that the address sanitizer puts around arrays are as large as these.
  const size_t shared_bytes = kernel.shared_end - kernel.shared;
  if (shared_bytes > kMostSharedBytes && !__asan_address_is_poisoned)
    throw std::runtime_error(std::to_string(shared_bytes) + " bytes of shared memory");
  if (problem_size != kernel.problem_size)
    throw std::runtime_error("the argument has " + std::to_string(problem_size) +
                             " bytes, that of the kernel has " +
                             std::to_string(kernel.problem_size));
}

void set_problem(const void* problem, size_t size) {
  launch.problem.resize(size / sizeof(std::max_align_t) + 1);
  std::memcpy(launch.problem.data(), problem, size);
}

bool is_shared(const void* address) {
  return address >= launch.kernel->shared && address < launch.kernel->shared_end;
}

}  // namespace

void wait_at_barrier(const char* file, int line) { stop_at({file, line}); }

void wait_for_warp(const char* file, int line) { stop_at({file, line, true}); }

const void* const* show_to_warp(const void* data, const char* file, int line) {
  static const void* shown[kMostThreads];
  if (block_size.x % kWarp) fail_here("an exchange in a block without whole warps");
  shown[thread_index.x] = data;
  wait_for_warp(file, line);
  return shown + thread_index.x / kWarp * kWarp;
}

void check_row(const void* row) {
  if (!is_shared(row)) fail_here("a row of a matrix that is not in shared memory");
  if (reinterpret_cast<uintptr_t>(row) % 16) fail_here("a row of a matrix that is not aligned");
}

void check_copy(const void* shared, const void* global, int size) {
  if (!is_shared(shared)) fail_here("an asynchronous copy to what is not shared memory");
  if (is_shared(global)) fail_here("an asynchronous copy from shared memory");
  if (reinterpret_cast<uintptr_t>(shared) % size || reinterpret_cast<uintptr_t>(global) % size)
    fail_here("an asynchronous copy of " + std::to_string(size) + " bytes that is not aligned");
}

bool is_behind_the_end(const void* global) {
  return __asan_address_is_poisoned && __asan_address_is_poisoned(global);
}

void copy_later(char* shared, const char* bytes, int size) {
  running().copies.add(shared, bytes, size);
}

void commit_copies() { running().copies.commit(); }

void wait_for_copies() {
  commit_copies();
  wait_for_copies_but(0);
}

void wait_for_copies_but(int pending_groups) { running().copies.arrive_but(pending_groups); }

}  // namespace host

// Returns the size of all shared arrays.
extern "C" size_t host_shared_bytes(const host::Kernel* kernel) {
  return kernel->shared_end - kernel->shared;
}

// Returns whether the launch succeeded; if not, writes a message.
extern "C" bool host_run(const host::Kernel* kernel, const long long (&blocks)[3], long long size,
                         const void* problem, size_t problem_size, unsigned long long seed,
                         char* error, size_t error_size) try {
  using namespace host;
  check_launch(*kernel, blocks, size, problem_size);
  const auto count = [](long long number) { return static_cast<unsigned>(number); };
  grid_size = {count(blocks[0]), count(blocks[1]), count(blocks[2])};
  block_size = {count(size), 1, 1};
  launch.kernel = kernel;
  launch.random.seed(seed);
  launch.error.clear();
  set_problem(problem, problem_size);
  start_threads();
  std::optional<Faults> faults;
  // The address sanitizer, if active, reports more.
  if (!__asan_address_is_poisoned) faults.emplace(fail_here);
  run_grid();
  return true;
} catch (const std::exception& failure) {
  std::strncpy(error, failure.what(), error_size - 1);
  return false;
}
