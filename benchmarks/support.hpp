#pragma once

#include "machine.hpp"

#include <moe/moe.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

/// What the benchmarks share: tokens, a clock that waits for the device, and rates against this machine's limits.
namespace bench {

using Exec = Kokkos::DefaultExecutionSpace;

/// The limits of this machine's CPU: figures on shared machines mean something only as fractions of these, taken in the
/// same run.
struct Machine {
  double fma_peak;        ///< float FLOP/s of all threads; a fused multiply-add counts as two
  double read_bandwidth;  ///< bytes/s of all threads, from memory in huge pages
};

/// Measured once in a run.
inline const Machine& this_machine() {
  using Host = Kokkos::DefaultHostExecutionSpace;
  static const Machine machine{moe::benchmarks::measure_fma_peak<float>(Host()),
                               moe::benchmarks::measure_read_bandwidth(Host())};
  return machine;
}
using Tokens = Kokkos::View<float**, Kokkos::LayoutRight, Exec>;

struct FillNormal {
  Tokens tokens;
  moe::Random random;
  KOKKOS_FUNCTION void operator()(std::int64_t i) const { tokens.data()[i] = random.normal<float>(std::uint64_t(i)); }
};

/// Standard normal tokens; another stream, other tokens.
inline Tokens random_tokens(int num_tokens, int hidden, std::uint64_t stream) {
  Tokens tokens("bench::tokens", num_tokens, hidden);
  Kokkos::parallel_for("bench::fill", Kokkos::RangePolicy<Exec, Kokkos::IndexType<std::int64_t>>(0, tokens.size()),
                       FillNormal{tokens, {1, stream}});
  return tokens;
}

/// Batches to take in turn, so that an iteration does not find its experts in a cache: as many as together hit far more
/// weights than a cache holds.
inline std::vector<Tokens> token_batches(int num_tokens, int hidden) {
  const int count = num_tokens >= 512 ? 4 : 32;
  std::vector<Tokens> batches;
  for (int i = 0; i < count; ++i) batches.push_back(random_tokens(num_tokens, hidden, std::uint64_t(i)));
  return batches;
}

/// One iteration, from an idle device to an idle device.
template <class F>
void timed(benchmark::State& state, const F& body) {
  Exec().fence("bench::begin");
  const auto begin = std::chrono::steady_clock::now();
  body();
  Exec().fence("bench::end");
  state.SetIterationTime(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
}

/// What an iteration does at least: the arithmetic of its products and the bytes that it must read.
struct Work {
  double flops = 0;
  double bytes = 0;
  Work& operator+=(const Work& more) {
    flops += more.flops;
    bytes += more.bytes;
    return *this;
  }
};

/// GFLOP/s, GB/s, and how near they come to this machine's limits, measured in the same run.
/// `of_limit` is the time that the slower of the two limits allows over the time taken.
inline void report(benchmark::State& state, Work total) {
  using benchmark::Counter;
  const Machine& machine = this_machine();
  state.counters["GFLOP/s"] = Counter(total.flops * 1e-9, Counter::kIsRate);
  state.counters["GB/s"] = Counter(total.bytes * 1e-9, Counter::kIsRate);
  state.counters["of_peak"] = Counter(total.flops / machine.fma_peak, Counter::kIsRate);
  state.counters["of_bandwidth"] = Counter(total.bytes / machine.read_bandwidth, Counter::kIsRate);
  state.counters["of_limit"] =
      Counter(std::max(total.flops / machine.fma_peak, total.bytes / machine.read_bandwidth), Counter::kIsRate);
}

/// Starts Kokkos, measures the machine, runs the benchmarks; `release` frees what must go before Kokkos does.
template <class F>
int run(int argc, char** argv, const F& release) {
  setenv("OMP_PROC_BIND", "false", 0);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const Kokkos::ScopeGuard kokkos(argc, argv);
  const Machine& machine = this_machine();
  benchmark::AddCustomContext("fma_peak_GFLOP/s", std::to_string(machine.fma_peak * 1e-9));
  benchmark::AddCustomContext("read_bandwidth_GB/s", std::to_string(machine.read_bandwidth * 1e-9));
  benchmark::AddCustomContext("threads", std::to_string(Exec().concurrency()));
  benchmark::AddCustomContext("instructions", std::string(moe::name(moe::host_isa())));
  benchmark::AddCustomContext("moe", moe::version);
  benchmark::RunSpecifiedBenchmarks();
  release();
  return 0;
}

}  // namespace bench
