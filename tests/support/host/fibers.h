// Threads that run one at a time and switch to one another explicitly.

#pragma once

#include <stdexcept>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

// Functions of the address sanitizer, if the process was started with it.
extern "C" {
__attribute__((weak)) void __sanitizer_start_switch_fiber(void** fake, const void* stack, size_t);
__attribute__((weak)) void __sanitizer_finish_switch_fiber(void* fake, const void** from, size_t*);
__attribute__((weak)) void __asan_unpoison_memory_region(const volatile void*, size_t);
__attribute__((weak)) int __asan_address_is_poisoned(const volatile void*);
}

namespace host {

class Fiber {
 public:
  static constexpr size_t kStack = 256 << 10;

  // The thread that the process came with, once it switches to another.
  Fiber() = default;
  Fiber(const Fiber&) = delete;
  ~Fiber() {
    if (memory_) munmap(memory_, kStack + page());
  }

  // Has the next switch to this fiber call `body`, which must not return. What it did is forgotten.
  void start(void (*body)()) {
    if (!memory_) allocate();
    if (__asan_unpoison_memory_region) __asan_unpoison_memory_region(stack_, size_);
    getcontext(&context_);
    context_.uc_stack.ss_sp = memory_ + page();
    context_.uc_stack.ss_size = kStack;
    context_.uc_link = nullptr;
    body_ = body;
    fake_stack_ = nullptr;
    makecontext(&context_, enter, 0);
    // Otherwise the address sanitizer would discard its records of the stack at every switch.
    context_.uc_stack.ss_size = 0;
  }

  // Runs another fiber until one switches back to this one.
  void switch_to(Fiber& next) {
    left_ = this;
    entered_ = &next;
    if (__sanitizer_start_switch_fiber)
      __sanitizer_start_switch_fiber(&fake_stack_, next.stack_, next.size_);
    swapcontext(&context_, &next.context_);
    arrive();
  }

 private:
  static void enter() {
    entered_->arrive();
    entered_->body_();
  }

  void arrive() {
    if (__sanitizer_finish_switch_fiber)
      __sanitizer_finish_switch_fiber(fake_stack_, &left_->stack_, &left_->size_);
  }

  // A page without access guards the end of the stack.
  void allocate() {
    constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void* const memory = mmap(nullptr, kStack + page(), PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("no memory for the stack of a thread");
    memory_ = static_cast<char*>(memory);
    mprotect(memory_, page(), PROT_NONE);
    stack_ = memory_ + page();
    size_ = kStack;
  }

  static size_t page() { return sysconf(_SC_PAGESIZE); }

  static inline Fiber *left_ = nullptr, *entered_ = nullptr;

  char* memory_ = nullptr;
  ucontext_t context_ = {};
  void (*body_)() = nullptr;
  const void* stack_ = nullptr;
  size_t size_ = 0;
  void* fake_stack_ = nullptr;
};

}  // namespace host
