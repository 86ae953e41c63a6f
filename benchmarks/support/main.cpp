/// The main of every benchmark: starts Kokkos, measures the machine, runs the benchmarks. Google Benchmark's options, and
///
///     --quick    measures the machine hastily: to see that a benchmark runs, not how fast

#include "commit.hpp"
#include "machine.hpp"
#include "report.hpp"
#include "shared.hpp"

#include <moe/version.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <string>

namespace bench {
namespace {

bool is_quick = false;

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string kokkos_version() {
  return std::to_string(KOKKOS_VERSION / 10000) + "." + std::to_string(KOKKOS_VERSION / 100 % 100) + "." +
         std::to_string(KOKKOS_VERSION % 100);
}

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "g++ " __VERSION__;
#else
  return "unknown";
#endif
}

/// What figures are read by: it goes on top of the table, and into the JSON.
void describe() {
  const Machine& machine = this_machine();
  benchmark::AddCustomContext("moe", moe::version);
  benchmark::AddCustomContext("commit", commit);
  benchmark::AddCustomContext("compiler", compiler());
  benchmark::AddCustomContext("kokkos", kokkos_version());
  benchmark::AddCustomContext("backend", Exec::name());
  benchmark::AddCustomContext("threads", std::to_string(Exec().concurrency()));
  benchmark::AddCustomContext("cpu", cpu_name());
  benchmark::AddCustomContext("instructions", std::string(moe::name(moe::host_isa())));
  benchmark::AddCustomContext("fma_peak_GFLOP/s", std::to_string(machine.fma_peak * 1e-9));
  benchmark::AddCustomContext("read_bandwidth_GB/s", std::to_string(machine.read_bandwidth * 1e-9));
  benchmark::AddCustomContext("pair_peak_GFLOP/s", std::to_string(machine.pair_peak * 1e-9));
  benchmark::AddCustomContext("byte_peak_GFLOP/s", std::to_string(machine.byte_peak * 1e-9));
  benchmark::AddCustomContext("quick", is_quick ? "true" : "false");
}

}  // namespace

const Machine& this_machine() {
  using Host = Kokkos::DefaultHostExecutionSpace;
  static const Machine machine{
      moe::benchmarks::measure_fma_peak<float>(Host(), moe::host_isa(), is_quick ? 1 : 10),
      moe::benchmarks::measure_read_bandwidth(Host(), std::int64_t(1) << (is_quick ? 24 : 30), is_quick ? 1 : 5),
      moe::benchmarks::measure_pair_peak(Host(), moe::host_isa(), is_quick ? 1 : 10),
      moe::benchmarks::measure_byte_peak(Host(), moe::host_isa(), is_quick ? 1 : 10)};
  return machine;
}

}  // namespace bench

int main(int argc, char** argv) {
  setenv("OMP_PROC_BIND", "false", 0);
  char** const end = std::remove_if(argv + 1, argv + argc, [](const char* a) { return !std::strcmp(a, "--quick"); });
  bench::is_quick = end != argv + argc;
  argc = int(end - argv);
  *end = nullptr;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const Kokkos::ScopeGuard kokkos(argc, argv);
  bench::describe();
  const std::size_t ran = benchmark::RunSpecifiedBenchmarks();
  bench::kept() = {};
  return ran > 0 ? 0 : 1;
}
