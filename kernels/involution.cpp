// The three operators of an involution on the CPU, behind a plain C interface.
//
// N batch, C channels, G groups, K kernel size, H W input, Ho Wo output.
//
// The work is done on small tiles in float (double for double) that are packed from, and unpacked
// to, tensors of any strides and storage type:
//   a row of pixels   [columns][16 channels], zeros beyond the edges; at stride s the columns are
//                     sorted by their remainder modulo s, so that the pixels that one tap meets in
//                     neighbouring outputs are neighbours;
//   a tile of kernels [pixels][K*K taps].
// A vector holds channels where kernels are applied or scattered (a kernel value is broadcast, a
// pixel serves K outputs of its row), and columns where the gradient of the kernels is taken.
// Every sum is taken by one thread in one order: results do not depend on the number of threads.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>

#if defined(_OPENMP)
#include <omp.h>
#endif

extern "C" {
// A view of memory; strides of N, C, H, W in elements.
struct Tensor {
  void* data;
  int64_t strides[4];
};

struct Shape {
  int64_t batch, channels, groups, height, width, out_height, out_width;
  int64_t kernel_size, stride, padding, dilation;
};
}

namespace {

#define INLINE inline __attribute__((always_inline))
#define INLINED __attribute__((always_inline))

#if defined(__AVX512F__)
constexpr int64_t kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int64_t kVectorBytes = 32;
#else
constexpr int64_t kVectorBytes = 16;
#endif

constexpr int64_t kBlock = 16;             // channels of a packed pixel
constexpr int64_t kTile = 16;              // pixels whose kernels are packed at a time
constexpr int64_t kCacheBytes = 512 << 10; // packed rows that should stay in a core's cache

struct bfloat16 {
  uint16_t bits;
};

template <typename T> struct Accumulator { using type = float; };
template <> struct Accumulator<double> { using type = double; };

template <typename A> struct Vector {
  static constexpr int64_t lanes = kVectorBytes / sizeof(A);
  typedef A type __attribute__((vector_size(kVectorBytes)));
  typedef std::conditional_t<sizeof(A) == 4, uint32_t, uint64_t> Bits;
  typedef Bits bits __attribute__((vector_size(kVectorBytes)));
};
template <typename A> using Vec = typename Vector<A>::type;

// Calls body(0), ..., body(N - 1) with compile-time numbers.
template <typename F, int64_t... I>
INLINE void unrolled(F&& body, std::integer_sequence<int64_t, I...>) {
  (body(std::integral_constant<int64_t, I>{}), ...);
}
template <int64_t N, typename F> INLINE void unroll(F&& body) {
  unrolled(body, std::make_integer_sequence<int64_t, N>{});
}

// ---- one element, one vector ----

INLINE float load(const float* from) { return *from; }
INLINE double load(const double* from) { return *from; }
INLINE float load(const bfloat16* from) {
  const uint32_t bits = uint32_t(from->bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

INLINE void store(float* to, float value) { *to = value; }
INLINE void store(double* to, double value) { *to = value; }
INLINE void store(bfloat16* to, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  to->bits = value != value ? 0x7fc0 : uint16_t(rounded);
}

template <typename A> INLINE Vec<A> copied(const A* from) {
  Vec<A> value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
INLINE Vec<float> load_vector(const float* from) { return copied(from); }
INLINE Vec<double> load_vector(const double* from) { return copied(from); }
INLINE Vec<float> load_vector(const bfloat16* from) {
  typedef uint16_t Narrow __attribute__((vector_size(kVectorBytes / 2)));
  Narrow narrow;
  std::memcpy(&narrow, from, sizeof narrow);
  return Vec<float>(__builtin_convertvector(narrow, Vector<float>::bits) << 16);
}

INLINE void store_vector(float* to, Vec<float> value) { std::memcpy(to, &value, sizeof value); }
INLINE void store_vector(double* to, Vec<double> value) { std::memcpy(to, &value, sizeof value); }
INLINE void store_vector(bfloat16* to, Vec<float> value) {
  typedef uint16_t Narrow __attribute__((vector_size(kVectorBytes / 2)));
  using Bits = Vector<float>::bits;
  const Bits bits = Bits(value);
  const Bits rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Bits is_nan = Bits(value != value);
  const Narrow narrow =
      __builtin_convertvector((rounded & ~is_nan) | (0x7fc0 & is_nan), Narrow);
  std::memcpy(to, &narrow, sizeof narrow);
}

// ---- tiles: rows x columns of elements between memory of any strides and a packed buffer ----

// The given lanes of two vectors side by side.
template <typename A, int64_t... I> INLINE Vec<A> shuffle(Vec<A> a, Vec<A> b) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, I...);
#else
  return __builtin_shuffle(a, b, typename Vector<A>::bits{typename Vector<A>::Bits(I)...});
#endif
}

// The lower or the higher halves of two vectors, lane by lane in turn.
template <typename A, bool high, int64_t... I>
INLINE Vec<A> interleave(Vec<A> a, Vec<A> b, std::integer_sequence<int64_t, I...>) {
  constexpr int64_t lanes = Vector<A>::lanes;
  return shuffle<A, (high * lanes / 2 + I / 2 + I % 2 * lanes)...>(a, b);
}

// Transposes a square of vectors by interleaving its upper and lower half log2(lanes) times.
template <typename A> INLINE void transpose(Vec<A>* rows) {
  constexpr int64_t lanes = Vector<A>::lanes;
  using Lanes = std::make_integer_sequence<int64_t, lanes>;
  for (int64_t length = lanes; length > 1; length /= 2) {
    Vec<A> mixed[lanes];
    unroll<lanes / 2>([&](auto i) INLINED {
      mixed[2 * i] = interleave<A, false>(rows[i], rows[i + lanes / 2], Lanes{});
      mixed[2 * i + 1] = interleave<A, true>(rows[i], rows[i + lanes / 2], Lanes{});
    });
    unroll<lanes>([&](auto i) INLINED { rows[i] = mixed[i]; });
  }
}

// packed[row * pitch + column] = memory[row * row_stride + column * column_stride]
// Up to the next whole vector, what follows the last column of a packed row may become zero.
template <typename T, typename A>
void pack(A* packed, int64_t pitch, const T* memory, int64_t row_stride,
                 int64_t column_stride, int64_t rows, int64_t columns) {
  constexpr int64_t lanes = Vector<A>::lanes;
  const bool transposed = row_stride == 1 && column_stride != 1;
  const int64_t squares = transposed ? rows - rows % lanes : 0;
  for (int64_t row = 0; row < squares; row += lanes)
    for (int64_t column = 0; column < columns; column += lanes) {
      const T* from = memory + row + column * column_stride;
      A* to = packed + row * pitch + column;
      Vec<A> square[lanes] = {};
      unroll<lanes>([&](auto i) INLINED {
        if (column + i < columns) square[i] = load_vector(from + i * column_stride);
      });
      transpose<A>(square);
      unroll<lanes>([&](auto i) INLINED { store_vector(to + i * pitch, square[i]); });
    }
  const int64_t vectors = column_stride == 1 ? columns - columns % lanes : 0;
  for (int64_t row = squares; row < rows; ++row) {
    const T* from = memory + row * row_stride;
    A* to = packed + row * pitch;
    for (int64_t column = 0; column < vectors; column += lanes)
      store_vector(to + column, load_vector(from + column));
    for (int64_t column = vectors; column < columns; ++column)
      to[column] = load(from + column * column_stride);
  }
}

// memory[row * row_stride + column * column_stride] = packed[row * pitch + column]
// The packed rows can be read up to the next whole vector.
template <typename T, typename A>
void unpack(T* memory, int64_t row_stride, int64_t column_stride, const A* packed,
                   int64_t pitch, int64_t rows, int64_t columns) {
  constexpr int64_t lanes = Vector<A>::lanes;
  const bool transposed = row_stride == 1 && column_stride != 1;
  const int64_t squares = transposed ? rows - rows % lanes : 0;
  for (int64_t row = 0; row < squares; row += lanes)
    for (int64_t column = 0; column < columns; column += lanes) {
      const A* from = packed + row * pitch + column;
      T* to = memory + row + column * column_stride;
      Vec<A> square[lanes];
      unroll<lanes>([&](auto i) INLINED { square[i] = load_vector(from + i * pitch); });
      transpose<A>(square);
      unroll<lanes>([&](auto i) INLINED {
        if (column + i < columns) store_vector(to + i * column_stride, square[i]);
      });
    }
  const int64_t vectors = column_stride == 1 ? columns - columns % lanes : 0;
  for (int64_t row = squares; row < rows; ++row) {
    T* to = memory + row * row_stride;
    const A* from = packed + row * pitch;
    for (int64_t column = 0; column < vectors; column += lanes)
      store_vector(to + column, load_vector(from + column));
    for (int64_t column = vectors; column < columns; ++column)
      store(to + column * column_stride, from[column]);
  }
}

// ---- the problem, its window and its division into tasks ----

constexpr int64_t round_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }
constexpr int64_t divide_up(int64_t value, int64_t by) { return (value + by - 1) / by; }

// One of `count` equal parts. While a row is computed, what the next one needs is asked for part by
// part: so the memory works while the core computes.
struct Part {
  int64_t index, count;
};

template <typename T> struct View {
  T* data;
  int64_t n, c, h, w;

  explicit View(const Tensor& tensor)
      : data(static_cast<T*>(tensor.data)), n(tensor.strides[0]), c(tensor.strides[1]),
        h(tensor.strides[2]), w(tensor.strides[3]) {}
  T* at(int64_t in, int64_t ic, int64_t ih, int64_t iw) const {
    return data + in * n + ic * c + ih * h + iw * w;
  }

  // Asks for one part of a row of `columns` pixels, which will be needed soon.
  template <bool for_writing = false>
  INLINE void prefetch(int64_t in, int64_t ih, int64_t columns, Part part) const {
    constexpr int64_t line = 64 / sizeof(T);
    if (c != 1) return;
    const T* row = at(in, 0, ih, 0);
    const int64_t size = columns * w, end = (part.index + 1) * size / part.count;
    for (int64_t i = part.index * size / part.count; i < end; i += line)
      __builtin_prefetch(row + i, for_writing, 2);
  }
};

// The numbers of a call. K, S > 0 make kernel size and stride known to the compiler (dilation 1).
template <int64_t K, int64_t S> struct Problem : Shape {
  int64_t group_channels, blocks; // of a group: channels, and packed blocks of 16
  int64_t reach;                  // rows from the first tap to the last, both counted
  int64_t phases, phase;          // remainders of columns modulo the stride, and columns of each
  int64_t columns;                // of a packed row of the input
  int64_t out_columns;            // of a packed row of the output

  explicit Problem(const Shape& shape) : Shape(shape) {
    group_channels = channels / groups;
    blocks = divide_up(group_channels, kBlock);
    reach = gap() * (size() - 1) + 1;
    out_columns = round_up(out_width, kTile);
    phases = std::min(step(), reach);
    phase = round_up(out_columns + (reach - 1) / step() + 1, kTile);
    columns = phases * phase + kTile;
  }

  INLINE int64_t size() const { return K ? K : kernel_size; }
  INLINE int64_t step() const { return S ? S : stride; }
  INLINE int64_t taps() const { return size() * size(); }
  INLINE int64_t pitch() const { return round_up(taps(), kTile); } // of packed kernels
  INLINE int64_t gap() const { return K ? 1 : dilation; }
  // Column, in a packed row, of what tap kw meets at the first output.
  INLINE int64_t offset(int64_t kw) const {
    return kw * gap() % step() * phase + kw * gap() / step();
  }
  INLINE int64_t row(int64_t out_row, int64_t kh) const {
    return out_row * step() + kh * gap() - padding;
  }
  // Asks for a part of the rows of the input from `first` on by which neighbouring windows differ.
  template <bool for_writing = false, typename V>
  INLINE void prefetch_rows(const V& view, int64_t n, int64_t first, Part part) const {
    for (int64_t y = std::max<int64_t>(first, 0); y < std::min(first + step(), height); ++y)
      view.template prefetch<for_writing>(n, y, width, part);
  }
  int64_t block_channels(int64_t block) const {
    return std::min(kBlock, group_channels - block * kBlock);
  }
  // Calls body(packed column, image column, count) for each run of columns inside the image.
  template <typename F> INLINE void each_phase(F&& body) const {
    for (int64_t remainder = 0; remainder < phases; ++remainder) {
      const int64_t left = padding - remainder;
      const int64_t first = left > 0 ? divide_up(left, step()) : 0;
      const int64_t end = left + width > 0 ? divide_up(left + width, step()) : 0;
      const int64_t last = std::min(end, phase);
      if (first < last)
        body(remainder * phase + first, first * step() - left, last - first);
    }
  }
};

// The division of images x groups x rows among threads.
struct Plan {
  int64_t groups, chunks; // groups of a task, and tasks side by side
  int64_t rows, bands;    // rows of a task, and tasks one below the other
  int64_t tasks;

  Plan(const Shape& shape, int64_t all_rows, int64_t reach, int64_t group_bytes, int threads) {
    const int64_t wanted = threads == 1 ? 1 : divide_up(4 * threads, shape.batch);
    bands = std::clamp<int64_t>(all_rows / (2 * reach), 1, wanted);
    rows = divide_up(all_rows, bands);
    bands = divide_up(all_rows, rows);
    const int64_t cached = std::max<int64_t>(1, kCacheBytes / group_bytes);
    chunks = std::max(divide_up(shape.groups, cached), divide_up(wanted, bands));
    groups = divide_up(shape.groups, std::min(chunks, shape.groups));
    chunks = divide_up(shape.groups, groups);
    tasks = shape.batch * chunks * bands;
  }
};

struct Task {
  int64_t n, group, end_group, row, end_row;

  Task() = default;
  Task(const Plan& plan, const Shape& shape, int64_t all_rows, int64_t index) {
    const int64_t band = index % plan.bands, chunk = index / plan.bands % plan.chunks;
    n = index / plan.bands / plan.chunks;
    group = chunk * plan.groups;
    end_group = std::min(group + plan.groups, shape.groups);
    row = band * plan.rows;
    end_row = std::min(row + plan.rows, all_rows);
  }
};

// Zeroed memory of one thread, handed out piece by piece; free of other threads' cache lines.
class Scratch {
 public:
  Scratch(int threads, int64_t bytes)
      : bytes_(round_up(bytes, 4096)), memory_(std::aligned_alloc(4096, threads * bytes_)) {}
  ~Scratch() { std::free(memory_); }
  Scratch(const Scratch&) = delete;
  explicit operator bool() const { return memory_ != nullptr; }

  // The memory of the calling thread.
  char* mine() {
#if defined(_OPENMP)
    const int thread = omp_get_thread_num();
#else
    const int thread = 0;
#endif
    char* const memory = static_cast<char*>(memory_) + thread * bytes_;
    std::memset(memory, 0, bytes_);
    return memory;
  }

  template <typename T> static T* take(char*& memory, int64_t elements) {
    T* const taken = reinterpret_cast<T*>(memory);
    memory += round_up(elements * sizeof(T), 64);
    return taken;
  }

 private:
  int64_t bytes_;
  void* memory_;
};

// ---- one tile ----

// Vectors of a packed pixel, and outputs whose sums stay in registers.
template <typename A> constexpr int64_t kVectors = kBlock / Vector<A>::lanes;
template <typename A> constexpr int64_t kOutputs = kVectors<A> == 1 ? 8 : 4;

// How many of the K columns of taps have a remainder modulo the stride.
template <int64_t S, int64_t Remainder, int64_t K> constexpr int64_t kPhaseTaps =
    Remainder < K ? (K - Remainder + S - 1) / S : 0;

// output[j] = sum over the taps of kernels[j][tap] * pixel of the tap, for kOutputs neighbours.
template <typename A, int64_t K, int64_t S>
INLINE void correlate(const Problem<K, S>& problem, const A* const* rows, int64_t first,
                      const A* kernels, A* output) {
  constexpr int64_t vectors = kVectors<A>, lanes = Vector<A>::lanes, outputs = kOutputs<A>;
  const int64_t size = problem.size(), pitch = problem.pitch();
  Vec<A> sums[outputs][vectors] = {};
  for (int64_t kh = 0; kh < size; ++kh, kernels += size) {
    if constexpr (K > 0) {
      unroll<S>([&](auto remainder) INLINED {
        constexpr int64_t taps = kPhaseTaps<S, remainder, K>;
        const A* pixels = rows[kh] + (first + remainder * problem.phase) * kBlock;
        unroll<outputs + taps - 1>([&](auto column) INLINED {
          Vec<A> pixel[vectors];
          unroll<vectors>([&](auto v) INLINED {
            pixel[v] = load_vector(pixels + column * kBlock + v * lanes);
          });
          unroll<taps>([&](auto tap) INLINED {
            constexpr int64_t j = column - tap;
            if constexpr (j >= 0 && j < outputs)
              unroll<vectors>([&](auto v) INLINED {
                sums[j][v] += kernels[j * pitch + tap * S + remainder] * pixel[v];
              });
          });
        });
      });
    } else {
      for (int64_t kw = 0; kw < size; ++kw) {
        const A* pixels = rows[kh] + (first + problem.offset(kw)) * kBlock;
        unroll<outputs>([&](auto j) INLINED {
          unroll<vectors>([&](auto v) INLINED {
            sums[j][v] += kernels[j * pitch + kw] * load_vector(pixels + j * kBlock + v * lanes);
          });
        });
      }
    }
  }
  unroll<outputs>([&](auto j) INLINED {
    unroll<vectors>([&](auto v) INLINED {
      store_vector(output + j * kBlock + v * lanes, sums[j][v]);
    });
  });
}

// pixel of the tap += kernels[j][tap] * gradient[j], for kOutputs neighbours; null rows are outside.
template <typename A, int64_t K, int64_t S>
INLINE void scatter(const Problem<K, S>& problem, A* const* rows, int64_t first,
                    const A* kernels, const A* gradient) {
  constexpr int64_t vectors = kVectors<A>, lanes = Vector<A>::lanes, outputs = kOutputs<A>;
  const int64_t size = problem.size(), pitch = problem.pitch();
  Vec<A> gradients[outputs][vectors];
  unroll<outputs>([&](auto j) INLINED {
    unroll<vectors>([&](auto v) INLINED {
      gradients[j][v] = load_vector(gradient + j * kBlock + v * lanes);
    });
  });
  for (int64_t kh = 0; kh < size; ++kh, kernels += size) {
    if (!rows[kh]) continue;
    if constexpr (K > 0) {
      unroll<S>([&](auto remainder) INLINED {
        constexpr int64_t taps = kPhaseTaps<S, remainder, K>;
        A* pixels = rows[kh] + (first + remainder * problem.phase) * kBlock;
        unroll<outputs + taps - 1>([&](auto column) INLINED {
          unroll<vectors>([&](auto v) INLINED {
            A* pixel = pixels + column * kBlock + v * lanes;
            Vec<A> sum = load_vector(pixel);
            unroll<taps>([&](auto tap) INLINED {
              constexpr int64_t j = column - tap;
              if constexpr (j >= 0 && j < outputs)
                sum += kernels[j * pitch + tap * S + remainder] * gradients[j][v];
            });
            store_vector(pixel, sum);
          });
        });
      });
    } else {
      for (int64_t kw = 0; kw < size; ++kw) {
        A* pixels = rows[kh] + (first + problem.offset(kw)) * kBlock;
        unroll<outputs>([&](auto j) INLINED {
          unroll<vectors>([&](auto v) INLINED {
            A* pixel = pixels + j * kBlock + v * lanes;
            store_vector(pixel, load_vector(pixel) + kernels[j * pitch + kw] * gradients[j][v]);
          });
        });
      }
    }
  }
}

// Lanes `shift`, shift + 1, ... of two vectors side by side.
template <typename A, int64_t shift, int64_t... I>
INLINE Vec<A> shifted(Vec<A> a, Vec<A> b, std::integer_sequence<int64_t, I...>) {
  return shuffle<A, (shift + I)...>(a, b);
}

// kernels[kw][j] = sum over the channels of gradient[c][j] * row[c][offset(kw) + j], for the kTile
// columns of one row of taps. A vector that straddles two cache lines takes four times as long to
// load as an aligned one, so that shifted vectors are put together from aligned ones.
template <typename A, int64_t K, int64_t S>
INLINE void multiply_rows(const Problem<K, S>& problem, const A* row, int64_t row_pitch,
                          const A* gradient, A* kernels) {
  constexpr int64_t lanes = Vector<A>::lanes;
  using Lanes = std::make_integer_sequence<int64_t, lanes>;
  for (int64_t j = 0; j < kTile; j += lanes) {
    if constexpr (K > 0) {
      Vec<A> sums[K] = {};
      for (int64_t c = 0; c < problem.group_channels; ++c) {
        const Vec<A> gradients = load_vector(gradient + c * problem.out_columns + j);
        unroll<S>([&](auto remainder) INLINED {
          constexpr int64_t taps = kPhaseTaps<S, remainder, K>;
          const A* pixels = row + c * row_pitch + remainder * problem.phase + j;
          Vec<A> aligned[(taps - 1) / lanes + 2];
          unroll<(taps - 1) / lanes + 2>([&](auto i) INLINED {
            aligned[i] = load_vector(pixels + i * lanes);
          });
          unroll<taps>([&](auto tap) INLINED {
            constexpr int64_t first = tap / lanes;
            sums[tap * S + remainder] += gradients * shifted<A, tap % lanes>(
                aligned[first], aligned[first + 1], Lanes{});
          });
        });
      }
      unroll<K>([&](auto kw) INLINED { store_vector(kernels + kw * kTile + j, sums[kw]); });
    } else {
      for (int64_t kw = 0; kw < problem.size(); ++kw) {
        const A* pixels = row + problem.offset(kw) + j;
        Vec<A> sum = {};
        for (int64_t c = 0; c < problem.group_channels; ++c)
          sum += load_vector(gradient + c * problem.out_columns + j) *
                 load_vector(pixels + c * row_pitch);
        store_vector(kernels + kw * kTile + j, sum);
      }
    }
  }
}

// ---- the rows of a task ----

// The packed rows of an image that the windows of one row of outputs meet, for the groups of a
// task. `by_channel` packs them as [channel][row][column], otherwise as [block][row][column][16].
template <typename T, typename A, int64_t K, int64_t S, bool by_channel> class InputRows {
 public:
  static int64_t group_size(const Problem<K, S>& problem) {
    return (by_channel ? problem.group_channels : problem.blocks * kBlock) * problem.reach *
           problem.columns;
  }
  static int64_t bytes(const Problem<K, S>& problem, int64_t groups) {
    return (groups * group_size(problem) + row_size(problem)) * sizeof(A) +
           problem.reach * sizeof(int64_t) + 3 * 64;
  }

  InputRows(const Problem<K, S>& problem, const View<const T>& view, int64_t groups, char*& memory)
      : problem_(problem), view_(view),
        packed_(Scratch::take<A>(memory, groups * group_size(problem))),
        blank_(Scratch::take<A>(memory, row_size(problem))),
        held_(Scratch::take<int64_t>(memory, problem.reach)) {}

  void begin(const Task& task) {
    task_ = task;
    std::fill(held_, held_ + problem_.reach, -1);
  }

  // Packs what row `i` of the outputs meets and is not there yet.
  void fetch(int64_t i) {
    for (int64_t kh = 0; kh < problem_.size(); ++kh) {
      const int64_t y = problem_.row(i, kh);
      if (y < 0 || y >= problem_.height || held_[y % problem_.reach] == y) continue;
      held_[y % problem_.reach] = y;
      for (int64_t group = task_.group; group < task_.end_group; ++group) pack_row(group, y);
    }
  }

  // The row that taps kh of row `i` of the outputs meet: zeros outside the image.
  INLINE const A* row(int64_t group, int64_t block, int64_t i, int64_t kh) const {
    const int64_t y = problem_.row(i, kh);
    if (y < 0 || y >= problem_.height) return blank_;
    return at(group, block, y);
  }
  INLINE int64_t channel_pitch(const A* row) const {
    return row == blank_ ? 0 : problem_.reach * problem_.columns;
  }

 private:
  static int64_t row_size(const Problem<K, S>& problem) {
    return (by_channel ? 1 : kBlock) * problem.columns;
  }
  INLINE A* at(int64_t group, int64_t block, int64_t y) const {
    return packed_ + (group - task_.group) * group_size(problem_) +
           (block * problem_.reach + y % problem_.reach) * row_size(problem_);
  }
  void pack_row(int64_t group, int64_t y) {
    problem_.each_phase([&](int64_t packed_column, int64_t column, int64_t count) INLINED {
      const int64_t step = problem_.step() * view_.w, channel = group * problem_.group_channels;
      if (by_channel) {
        pack(at(group, 0, y) + packed_column, problem_.reach * problem_.columns,
             view_.at(task_.n, channel, y, column), view_.c, step, problem_.group_channels, count);
        return;
      }
      for (int64_t block = 0; block < problem_.blocks; ++block)
        pack(at(group, block, y) + packed_column * kBlock, kBlock,
             view_.at(task_.n, channel + block * kBlock, y, column), step, view_.c, count,
             problem_.block_channels(block));
    });
  }

  const Problem<K, S>& problem_;
  const View<const T> view_;
  A* const packed_;
  A* const blank_;
  int64_t* const held_;
  Task task_;
};

// The rows of the input's gradient that are being summed, for the groups of a task.
template <typename T, typename A, int64_t K, int64_t S> class GradientRows {
 public:
  static int64_t group_size(const Problem<K, S>& problem) {
    return problem.blocks * problem.reach * row_size(problem);
  }

  GradientRows(const Problem<K, S>& problem, const View<T>& view, int64_t groups, char*& memory)
      : problem_(problem), view_(view),
        sums_(Scratch::take<A>(memory, groups * group_size(problem))) {}

  void begin(const Task& task) {
    task_ = task;
    next_ = task.row;
    std::memset(sums_, 0, (task.end_group - task.group) * group_size(problem_) * sizeof(A));
  }

  // The row that taps kh of row `i` of the outputs add to, or null where others care for it.
  INLINE A* row(int64_t group, int64_t block, int64_t i, int64_t kh) const {
    const int64_t y = problem_.row(i, kh);
    return y < task_.row || y >= task_.end_row ? nullptr : at(group, block, y);
  }

  // Writes the rows before `end`, which are complete, and makes room for as many.
  void flush(int64_t end) {
    for (; next_ < std::min(end, task_.end_row); ++next_)
      for (int64_t group = task_.group; group < task_.end_group; ++group)
        for (int64_t block = 0; block < problem_.blocks; ++block) {
          unpack_row(group, block);
          std::memset(at(group, block, next_), 0, row_size(problem_) * sizeof(A));
        }
  }

 private:
  static int64_t row_size(const Problem<K, S>& problem) { return problem.columns * kBlock; }
  INLINE A* at(int64_t group, int64_t block, int64_t y) const {
    return sums_ + (group - task_.group) * group_size(problem_) +
           (block * problem_.reach + y % problem_.reach) * row_size(problem_);
  }
  void unpack_row(int64_t group, int64_t block) {
    const int64_t channels = problem_.block_channels(block);
    const A* const from = at(group, block, next_);
    T* const to = view_.at(task_.n, group * problem_.group_channels + block * kBlock, next_, 0);
    int64_t covered = 0;
    problem_.each_phase([&](int64_t, int64_t, int64_t count) INLINED { covered += count; });
    if (covered < problem_.width) fill_zeros(to, channels);
    problem_.each_phase([&](int64_t packed_column, int64_t column, int64_t count) INLINED {
      unpack(to + column * view_.w, problem_.step() * view_.w, view_.c,
             from + packed_column * kBlock, kBlock, count, channels);
    });
  }
  void fill_zeros(T* to, int64_t channels) const {
    for (int64_t x = 0; x < problem_.width; ++x)
      for (int64_t c = 0; c < channels; ++c) store(to + x * view_.w + c * view_.c, A(0));
  }

  const Problem<K, S>& problem_;
  const View<T> view_;
  A* const sums_;
  Task task_;
  int64_t next_;
};

// ---- the operators ----

// The kernels of a group for up to kTile pixels from (i, j) on, as [pixel][tap]. What follows the
// last tap is arbitrary; pixels that are computed though they lie beyond the row have zeros.
template <typename T, typename A, int64_t K, int64_t S>
INLINE void pack_kernels(A* packed, const Problem<K, S>& problem, const View<const T>& weight,
                         const Task& task, int64_t group, int64_t i, int64_t j) {
  constexpr int64_t lanes = Vector<A>::lanes;
  const int64_t count = std::min(kTile, problem.out_width - j), pitch = problem.pitch();
  const T* const from = weight.at(task.n, group * problem.taps(), i, j);
  const T* const end = weight.at(problem.batch - 1, problem.groups * problem.taps() - 1,
                                 problem.out_height - 1, problem.out_width - 1) + 1;
  if (weight.c == 1 && from + (count - 1) * weight.w + pitch <= end)
    for (int64_t pixel = 0; pixel < count; ++pixel)
      for (int64_t tap = 0; tap < pitch; tap += lanes)
        store_vector(packed + pixel * pitch + tap, load_vector(from + pixel * weight.w + tap));
  else
    pack(packed, pitch, from, weight.w, weight.c, count, problem.taps());
  const int64_t computed = round_up(count, kOutputs<A>);
  std::memset(packed + count * pitch, 0, (computed - count) * pitch * sizeof(A));
}

template <typename T, int64_t K, int64_t S>
bool involution2d(const Shape& shape, int threads, const View<const T>& input,
                  const View<const T>& weight, const View<T>& output) {
  using A = typename Accumulator<T>::type;
  using Rows = InputRows<T, A, K, S, false>;
  const Problem<K, S> problem(shape);
  const Plan plan(shape, shape.out_height, problem.reach,
                  Rows::group_size(problem) * sizeof(A), threads);
  const int64_t row_size = problem.out_columns * kBlock;
  Scratch scratch(threads, Rows::bytes(problem, plan.groups) +
                               (problem.blocks * row_size + kTile * problem.pitch()) * sizeof(A) +
                               problem.size() * sizeof(A*) + 3 * 64);
  if (!scratch) return false;
#pragma omp parallel num_threads(threads)
  {
    char* memory = scratch.mine();
    Rows pixels(problem, input, plan.groups, memory);
    A* const sums = Scratch::take<A>(memory, problem.blocks * row_size);
    A* const kernels = Scratch::take<A>(memory, kTile * problem.pitch());
    const A** const rows = Scratch::take<const A*>(memory, problem.size());
#pragma omp for schedule(dynamic)
    for (int64_t index = 0; index < plan.tasks; ++index) {
      const Task task(plan, shape, shape.out_height, index);
      const int64_t parts = (task.end_group - task.group) * problem.blocks *
                            divide_up(shape.out_width, kOutputs<A>);
      pixels.begin(task);
      for (int64_t i = task.row; i < task.end_row; ++i) {
        pixels.fetch(i);
        Part part{0, parts};
        for (int64_t group = task.group; group < task.end_group; ++group) {
          for (int64_t j = 0; j < shape.out_width; j += kTile) {
            pack_kernels(kernels, problem, weight, task, group, i, j);
            for (int64_t block = 0; block < problem.blocks; ++block) {
              for (int64_t kh = 0; kh < problem.size(); ++kh)
                rows[kh] = pixels.row(group, block, i, kh);
              const int64_t end = std::min(kTile, shape.out_width - j);
              for (int64_t k = 0; k < end; k += kOutputs<A>) {
                if (i + 1 < shape.out_height) {
                  problem.prefetch_rows(input, task.n, problem.row(i, problem.size() - 1) + 1, part);
                  weight.prefetch(task.n, i + 1, shape.out_width, part);
                  output.template prefetch<true>(task.n, i + 1, shape.out_width, part);
                  ++part.index;
                }
                correlate<A>(problem, rows, j + k, kernels + k * problem.pitch(),
                             sums + block * row_size + (j + k) * kBlock);
              }
            }
          }
          for (int64_t block = 0; block < problem.blocks; ++block)
            unpack(output.at(task.n, group * problem.group_channels + block * kBlock, i, 0),
                   output.w, output.c, sums + block * row_size, kBlock, shape.out_width,
                   problem.block_channels(block));
        }
      }
    }
  }
  return true;
}

template <typename T, int64_t K, int64_t S>
bool involution2d_grad_weight(const Shape& shape, int threads, const View<const T>& grad,
                              const View<const T>& input, const View<T>& grad_weight) {
  using A = typename Accumulator<T>::type;
  using Rows = InputRows<T, A, K, S, true>;
  const Problem<K, S> problem(shape);
  const Plan plan(shape, shape.out_height, problem.reach,
                  Rows::group_size(problem) * sizeof(A), threads);
  const int64_t row_size = problem.group_channels * problem.out_columns;
  const int64_t tile_size = problem.pitch() * kTile;
  Scratch scratch(threads, Rows::bytes(problem, plan.groups) +
                               (row_size + tile_size) * sizeof(A) + 2 * 64);
  if (!scratch) return false;
#pragma omp parallel num_threads(threads)
  {
    char* memory = scratch.mine();
    Rows pixels(problem, input, plan.groups, memory);
    A* const gradients = Scratch::take<A>(memory, row_size);
    A* const kernels = Scratch::take<A>(memory, tile_size);
#pragma omp for schedule(dynamic)
    for (int64_t index = 0; index < plan.tasks; ++index) {
      const Task task(plan, shape, shape.out_height, index);
      const int64_t parts = (task.end_group - task.group) * problem.size() *
                            divide_up(shape.out_width, kTile);
      pixels.begin(task);
      for (int64_t i = task.row; i < task.end_row; ++i) {
        pixels.fetch(i);
        Part part{0, parts};
        for (int64_t group = task.group; group < task.end_group; ++group) {
          pack(gradients, problem.out_columns, grad.at(task.n, group * problem.group_channels, i, 0),
               grad.c, grad.w, problem.group_channels, shape.out_width);
          for (int64_t j = 0; j < shape.out_width; j += kTile) {
            for (int64_t kh = 0; kh < problem.size(); ++kh) {
              const A* const row = pixels.row(group, 0, i, kh);
              if (i + 1 < shape.out_height) {
                grad.prefetch(task.n, i + 1, shape.out_width, part);
                problem.prefetch_rows(input, task.n, problem.row(i, problem.size() - 1) + 1, part);
                grad_weight.template prefetch<true>(task.n, i + 1, shape.out_width, part);
                ++part.index;
              }
              multiply_rows<A>(problem, row + j, pixels.channel_pitch(row), gradients + j,
                               kernels + kh * problem.size() * kTile);
            }
            unpack(grad_weight.at(task.n, group * problem.taps(), i, j), grad_weight.c, grad_weight.w,
                   kernels, kTile, problem.taps(), std::min(kTile, shape.out_width - j));
          }
        }
      }
    }
  }
  return true;
}

template <typename T, int64_t K, int64_t S>
bool involution2d_grad_input(const Shape& shape, int threads, const View<const T>& grad,
                             const View<const T>& weight, const View<T>& grad_input) {
  using A = typename Accumulator<T>::type;
  using Rows = GradientRows<T, A, K, S>;
  const Problem<K, S> problem(shape);
  const Plan plan(shape, shape.height, problem.reach, Rows::group_size(problem) * sizeof(A),
                  threads);
  const int64_t row_size = problem.out_columns * kBlock;
  Scratch scratch(threads, (plan.groups * Rows::group_size(problem) + problem.blocks * row_size +
                            kTile * problem.pitch()) * sizeof(A) +
                               problem.size() * sizeof(A*) + 4 * 64);
  if (!scratch) return false;
#pragma omp parallel num_threads(threads)
  {
    char* memory = scratch.mine();
    Rows sums(problem, grad_input, plan.groups, memory);
    A* const gradients = Scratch::take<A>(memory, problem.blocks * row_size);
    A* const kernels = Scratch::take<A>(memory, kTile * problem.pitch());
    A** const rows = Scratch::take<A*>(memory, problem.size());
#pragma omp for schedule(dynamic)
    for (int64_t index = 0; index < plan.tasks; ++index) {
      const Task task(plan, shape, shape.height, index);
      const int64_t parts = (task.end_group - task.group) * problem.blocks *
                            divide_up(shape.out_width, kOutputs<A>);
      sums.begin(task);
      const int64_t below = task.row + shape.padding - problem.reach + 1;
      const int64_t first = below > 0 ? divide_up(below, problem.step()) : 0;
      const int64_t end = divide_up(task.end_row + shape.padding, problem.step());
      for (int64_t i = first; i < std::min(end, shape.out_height); ++i) {
        sums.flush(problem.row(i, 0));
        Part part{0, parts};
        for (int64_t group = task.group; group < task.end_group; ++group) {
          for (int64_t block = 0; block < problem.blocks; ++block)
            pack(gradients + block * row_size, kBlock,
                 grad.at(task.n, group * problem.group_channels + block * kBlock, i, 0), grad.w,
                 grad.c, shape.out_width, problem.block_channels(block));
          for (int64_t j = 0; j < shape.out_width; j += kTile) {
            pack_kernels(kernels, problem, weight, task, group, i, j);
            for (int64_t block = 0; block < problem.blocks; ++block) {
              for (int64_t kh = 0; kh < problem.size(); ++kh)
                rows[kh] = sums.row(group, block, i, kh);
              const int64_t count = std::min(kTile, shape.out_width - j);
              for (int64_t k = 0; k < count; k += kOutputs<A>) {
                if (i + 1 < shape.out_height) {
                  grad.prefetch(task.n, i + 1, shape.out_width, part);
                  weight.prefetch(task.n, i + 1, shape.out_width, part);
                  problem.template prefetch_rows<true>(grad_input, task.n, problem.row(i, 0), part);
                  ++part.index;
                }
                scatter<A>(problem, rows, j + k, kernels + k * problem.pitch(),
                           gradients + block * row_size + (j + k) * kBlock);
              }
            }
          }
        }
      }
      sums.flush(task.end_row);
    }
  }
  return true;
}

// ---- the choice of the types and of the fast paths ----

enum Operator { kForward, kGradInput, kGradWeight };

template <Operator which, typename T, int64_t K, int64_t S>
bool run(const Shape& shape, int threads, const Tensor& a, const Tensor& b, const Tensor& result) {
  const View<const T> first(a), second(b);
  const View<T> output(result);
  if constexpr (which == kForward)
    return involution2d<T, K, S>(shape, threads, first, second, output);
  else if constexpr (which == kGradInput)
    return involution2d_grad_input<T, K, S>(shape, threads, first, second, output);
  else
    return involution2d_grad_weight<T, K, S>(shape, threads, first, second, output);
}

template <Operator which, typename T>
bool run(const Shape& shape, int threads, const Tensor& a, const Tensor& b, const Tensor& result) {
  const int64_t size = shape.kernel_size, stride = shape.stride;
  if (std::is_same_v<T, double> || shape.dilation > 1)
    return run<which, T, 0, 0>(shape, threads, a, b, result);
  if (size == 7 && stride == 1) return run<which, T, 7, 1>(shape, threads, a, b, result);
  if (size == 7 && stride == 2) return run<which, T, 7, 2>(shape, threads, a, b, result);
  if (size == 3 && stride == 1) return run<which, T, 3, 1>(shape, threads, a, b, result);
  if (size == 3 && stride == 2) return run<which, T, 3, 2>(shape, threads, a, b, result);
  return run<which, T, 0, 0>(shape, threads, a, b, result);
}

enum Status { kDone = 0, kOutOfMemory = 1, kUnknownType = 2 };

template <Operator which>
int run(int type, int threads, const Shape& shape, const Tensor& a, const Tensor& b,
        const Tensor& result) {
  bool done;
  switch (type) {
    case 0: done = run<which, float>(shape, threads, a, b, result); break;
    case 1: done = run<which, bfloat16>(shape, threads, a, b, result); break;
    case 2: done = run<which, double>(shape, threads, a, b, result); break;
    default: return kUnknownType;
  }
  return done ? kDone : kOutOfMemory;
}

}  // namespace

// Types: 0 float, 1 bfloat16, 2 double. Return 0 when done, 1 out of memory, 2 unknown type.
extern "C" {

// output (N, C, Ho, Wo) from input (N, C, H, W) and weight (N, G*K*K, Ho, Wo).
int rednet_involution2d(int type, int threads, const Shape* shape, const Tensor* input,
                        const Tensor* weight, const Tensor* output) {
  return run<kForward>(type, threads, *shape, *input, *weight, *output);
}

// grad_input (N, C, H, W) from grad (N, C, Ho, Wo) and weight (N, G*K*K, Ho, Wo).
int rednet_involution2d_grad_input(int type, int threads, const Shape* shape, const Tensor* grad,
                                   const Tensor* weight, const Tensor* grad_input) {
  return run<kGradInput>(type, threads, *shape, *grad, *weight, *grad_input);
}

// grad_weight (N, G*K*K, Ho, Wo) from grad (N, C, Ho, Wo) and input (N, C, H, W).
int rednet_involution2d_grad_weight(int type, int threads, const Shape* shape, const Tensor* grad,
                                    const Tensor* input, const Tensor* grad_weight) {
  return run<kGradWeight>(type, threads, *shape, *grad, *input, *grad_weight);
}
}
