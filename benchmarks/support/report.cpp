#include "report.hpp"

#include <algorithm>
#include <numeric>

namespace bench {

using benchmark::Counter;

void report_work(benchmark::State& state, const Work& total, double peak) {
  if (total.flops == 0 && total.bytes == 0) return;
  const Machine& machine = this_machine();
  state.counters["GFLOP/s"] = Counter(total.flops * 1e-9, Counter::kIsRate);
  state.counters["GB/s"] = Counter(total.bytes * 1e-9, Counter::kIsRate);
  state.counters["of_peak"] = Counter(total.flops / peak, Counter::kIsRate);
  state.counters["of_bandwidth"] = Counter(total.bytes / machine.read_bandwidth, Counter::kIsRate);
  state.counters["of_limit"] =
      Counter(std::max(total.flops / peak, total.bytes / machine.read_bandwidth), Counter::kIsRate);
}

void report_per_token(benchmark::State& state, int num_tokens, double flops_per_token) {
  // Inverted, a rate of tokens is seconds for each of them.
  state.counters["per_token"] = Counter(num_tokens, Counter::kIsIterationInvariantRate | Counter::kInvert);
  if (flops_per_token > 0) state.counters["floor"] = flops_per_token / this_machine().fma_peak;
}

void report_load(benchmark::State& state, std::vector<int> load) {
  std::sort(load.begin(), load.end());
  const double mean = std::accumulate(load.begin(), load.end(), 0.0) / double(load.size());
  const auto over_mean = [&](double part) {
    return mean > 0 ? load[std::size_t(part * double(load.size() - 1))] / mean : 0;
  };
  state.counters["experts_hit"] = double(load.end() - std::upper_bound(load.begin(), load.end(), 0));
  state.counters["load_min"] = over_mean(0);
  state.counters["load_q1"] = over_mean(0.25);
  state.counters["load_median"] = over_mean(0.5);
  state.counters["load_q3"] = over_mean(0.75);
  state.counters["load_max"] = over_mean(1);
}

}  // namespace bench
