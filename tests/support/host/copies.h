// A thread's pending asynchronous copies, in groups as in PTX.

#pragma once

#include <cstring>
#include <deque>

namespace host {

class Copies {
 public:
  bool empty() const { return waiting_.empty(); }

  void clear() {
    waiting_.clear();
    groups_ = 0;
  }

  void add(char* to, const char* bytes, int size) {
    waiting_.push_back({to, {}, size, groups_});
    std::memcpy(waiting_.back().bytes, bytes, size);
  }

  // Ends a group of the copies that were added since the last call.
  void commit() { ++groups_; }

  // Completes all groups but the latest `pending` ones; copies without a group stay pending.
  void arrive_but(int pending) {
    for (; !empty() && waiting_.front().group < groups_ - pending; waiting_.pop_front())
      std::memcpy(waiting_.front().to, waiting_.front().bytes, waiting_.front().size);
  }

 private:
  struct Copy {
    char* to;
    char bytes[16];
    int size;
    int group;
  };

  std::deque<Copy> waiting_;
  int groups_ = 0;
};

}  // namespace host
