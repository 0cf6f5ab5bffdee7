// The codes of the C interface; rednet/ops/c_interface.py has the same.

#pragma once

namespace {

enum Dtype { kFloat32 = 0, kBFloat16 = 1, kFloat64 = 2 };

// What a function returns.
enum Status { kDone = 0, kOutOfMemory = 1, kUnknownDtype = 2 };

}  // namespace
