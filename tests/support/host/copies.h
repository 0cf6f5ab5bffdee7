// A thread's asynchronous copies that have not arrived, in groups as PTX has them.

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

  // What was added since the last call is a group.
  void commit() { ++groups_; }

  // All groups arrive but the latest `pending` ones, and nothing that is in no group yet.
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
