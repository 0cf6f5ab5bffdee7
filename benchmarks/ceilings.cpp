// Peak multiply-adds per second: enough chains in registers to hide the latency.

#include "../kernels/cpu/vectors.h"

namespace {

constexpr int kChains = kVectorBytes == 32 ? 12 : 20;

volatile double sink;  // keeps the compiler from removing the loop

// The chains are unrolled by hand, because an array in a loop may stay in memory.
template <typename Vector, int... kIndex>
Vector run_chains(int64_t rounds, Vector factor, Vector term,
                  std::integer_sequence<int, kIndex...>) {
  Vector sums[] = {(Vector{} + kIndex)...};
  for (int64_t round = 0; round < rounds; ++round) {
    ((sums[kIndex] = sums[kIndex] * factor + term), ...);
  }
  return (sums[kIndex] + ...);
}

template <typename Scalar>
double multiply_add(int64_t rounds, double& checksum) {
  typedef Scalar Vector __attribute__((vector_size(kVectorBytes)));
  constexpr int kLanes = kVectorBytes / sizeof(Scalar);
  const Vector factor = Vector{} + Scalar(0.5);
  const Vector term = Vector{} + Scalar(1);
  const auto chains = std::make_integer_sequence<int, kChains>();
  const Vector total = run_chains(rounds, factor, term, chains);
  checksum += static_cast<double>(total[0]);
  return 2.0 * static_cast<double>(rounds) * kChains * kLanes;
}

}  // namespace

// Returns how many multiplications and additions were done, in float64 or else in float32.
extern "C" double rednet_multiply_add(int is_double, int threads, int64_t rounds) {
  double operations = 0;
  double checksum = 0;
#pragma omp parallel num_threads(threads) reduction(+ : operations, checksum)
  operations += is_double ? multiply_add<double>(rounds, checksum)
                          : multiply_add<float>(rounds, checksum);
  sink = checksum;
  return operations;
}
