#pragma once

#include <Kokkos_Core.hpp>

#include <benchmark/benchmark.h>

#include <chrono>
#include <vector>

/// \file
/// A clock that waits for the device, and what an iteration is measured against: this machine's limits, what a token
/// costs, how even the load was. JSON files hold the same counters; tools/plot draws them.

namespace bench {

using Exec = Kokkos::DefaultExecutionSpace;

/// The limits of this machine's CPU: figures on shared machines mean something only as fractions of these, taken in the
/// same run.
struct Machine {
  double fma_peak;        ///< float FLOP/s of all threads; a fused multiply-add counts as two
  double read_bandwidth;  ///< bytes/s of all threads, from memory in huge pages
  double pair_peak;       ///< FLOP/s of bfloat16, as pairs where the CPU multiplies them
  double byte_peak;       ///< FLOP/s of bytes
};

/// Measured once in a run, before the first benchmark.
const Machine& this_machine();

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

/// GFLOP/s, GB/s, and how near they come to this machine's limits: the work of all iterations together, if there is any.
/// `of_limit` is the time that the slower of the two limits allows over the time taken. The peak is that of float, unless
/// another is given.
void report_work(benchmark::State& state, const Work& total, double peak = this_machine().fma_peak);

/// `per_token`, in seconds; with the floating-point operations that a token needs, also `floor`, the seconds that these
/// take at the machine's peak.
void report_per_token(benchmark::State& state, int num_tokens, double flops_per_token = 0);

/// How many experts have a token, and the least, the quartiles and the most of the experts' loads, over their mean.
void report_load(benchmark::State& state, std::vector<int> load);

}  // namespace bench
