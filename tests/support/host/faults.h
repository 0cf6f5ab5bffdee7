// Signals of the processor, so that a fault ends the launch and not the process.

#pragma once

#include <signal.h>

#include <cstring>
#include <string>

namespace host {

// Has `report` called, by the thread that did it and not to return, while it lives.
class Faults {
 public:
  explicit Faults(void (*report)(const std::string&)) {
    report_ = report;
    stack_t stack = {};  // the thread's own may be what is at an end
    stack.ss_sp = stack_;
    stack.ss_size = sizeof(stack_);
    sigaltstack(&stack, &old_stack_);
    struct sigaction action = {};
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (int i = 0; i < kSignals; ++i) sigaction(kSignal[i], &action, &old_[i]);
  }
  Faults(const Faults&) = delete;
  ~Faults() {
    for (int i = 0; i < kSignals; ++i) sigaction(kSignal[i], &old_[i], nullptr);
    sigaltstack(&old_stack_, nullptr);
  }

 private:
  static constexpr int kSignals = 4, kSignal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
  static inline char stack_[64 << 10];
  static inline void (*report_)(const std::string&);

  static void handle(int signal, siginfo_t* info, void*) {
    const auto address = reinterpret_cast<size_t>(info->si_addr);
    report_(std::string("a fault, ") + strsignal(signal) + ", at address " +
            std::to_string(address));
  }

  stack_t old_stack_ = {};
  struct sigaction old_[kSignals] = {};
};

}  // namespace host
