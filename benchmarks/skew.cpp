/// The experts of one layer in float when the load is not even, and over the number of experts: whether the time follows
/// the larger of two limits, the products' arithmetic and the bytes of the experts that have a token, or something else.
///
///     even/  zipf/  same/     (hidden, intermediate, experts, top_k) = (2048, 1024, 64, 8); the probability of expert e goes
///                             with 1, with 1 / (e + 1), or all tokens have the same experts
///     experts/                8 to 512 experts that together have as many weights, and as many rows

#include "support/layer.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

namespace {

using bench::Exec;

enum class Load { even, zipf, same };

struct Case {
  const char* name;
  Load load;
  int hidden, intermediate, experts;
};

constexpr int top_k = 8, max_tokens = 4096;
constexpr Case cases[] = {
    {"even", Load::even, 2048, 1024, 64},       {"zipf", Load::zipf, 2048, 1024, 64},
    {"same", Load::same, 2048, 1024, 64},       {"experts/8", Load::even, 4096, 4096, 8},
    {"experts/32", Load::even, 2048, 2048, 32}, {"experts/128", Load::even, 1024, 1024, 128},
    {"experts/512", Load::even, 512, 512, 512},
};

using LayerT = decltype(moe::Layer{moe::Shape<>{.experts = 8, .hidden = 8, .intermediate = 8},
                                   moe::SoftmaxTopK<top_k>{}, moe::SwiGlu{}});

struct Model {
  Case what;
  Exec exec;
  LayerT layer;
  LayerT::Parameters<Exec> parameters = layer.parameters(exec, 1);
  decltype(layer.workspace(exec, 1)) workspace = layer.workspace(exec, max_tokens, moe::Use::inference);
  bench::Tokens x = bench::random_tokens(max_tokens, layer.hidden(), 1),
                y = bench::Tokens("bench::y", max_tokens, layer.hidden());

  explicit Model(const Case& what_)
      : what(what_),
        layer{moe::Shape<>{.experts = what.experts, .hidden = what.hidden, .intermediate = what.intermediate},
              moe::SoftmaxTopK<top_k>{}, moe::SwiGlu{}} {}

  /// The largest of log(p) + Gumbel noise: draws without replacement.
  std::vector<int> experts_of(std::uint64_t token) const {
    std::vector<int> ids(std::size_t(what.experts), 0);
    std::iota(ids.begin(), ids.end(), 0);
    if (what.load == Load::same) return ids;
    std::vector<double> keys;
    for (int e = 0; e < what.experts; ++e) {
      const double uniform = (moe::Random{1, token}.bits(std::uint64_t(e)).word[0] + 0.5) / 4294967296.0;
      keys.push_back((what.load == Load::zipf ? -std::log(e + 1.0) : 0) - std::log(-std::log(uniform)));
    }
    std::partial_sort(ids.begin(), ids.begin() + top_k, ids.end(),
                      [&](int a, int b) { return keys[std::size_t(a)] > keys[std::size_t(b)]; });
    return ids;
  }
};

void apply(benchmark::State& state, Model& m) {
  const int num_tokens = int(state.range(0));
  const auto routing = m.layer.make_routing(m.exec, num_tokens);
  const auto plan = m.layer.make_plan(m.exec, num_tokens);
  const auto ids = Kokkos::create_mirror_view(routing.ids);
  const auto gates = Kokkos::create_mirror_view(routing.gates);
  for (int t = 0; t < num_tokens; ++t) {
    const std::vector<int> chosen = m.experts_of(std::uint64_t(t));
    for (int slot = 0; slot < top_k; ++slot) ids(t, slot) = chosen[std::size_t(slot)], gates(t, slot) = 1.0f / top_k;
  }
  Kokkos::deep_copy(routing.ids, ids);
  Kokkos::deep_copy(routing.gates, gates);
  m.layer.plan(m.exec, routing, plan, m.workspace);
  const auto of = [&](const bench::Tokens& tokens) {
    return Kokkos::subview(tokens, Kokkos::pair<int, int>(0, num_tokens), Kokkos::ALL);
  };
  const auto x = of(m.x), y = of(m.y);
  const auto run = [&] { m.layer.apply(m.exec, m.parameters, x, routing, plan, y, m.workspace); };
  run();
  for (auto _ : state) bench::timed(state, run);
  const auto load = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), plan.load);
  std::vector<int> loads(load.data(), load.data() + load.size());
  const double weights = 3.0 * m.what.hidden * m.what.intermediate, times = double(state.iterations());
  const double hit = double(std::count_if(loads.begin(), loads.end(), [](int tokens) { return tokens > 0; }));
  bench::report_work(state, {2 * weights * num_tokens * top_k * times, sizeof(float) * weights * hit * times});
  bench::report_load(state, loads);
}

const bool added = [] {
  for (const Case& what : cases) {
    auto* const added = benchmark::RegisterBenchmark(what.name, [what](benchmark::State& state) {
      apply(state, *bench::shared(what.name, [&] { return Model(what); }));
    });
    added->ArgName("T")->Arg(16)->Arg(512)->Arg(4096)->UseManualTime()->Unit(benchmark::kMillisecond);
  }
  return true;
}();

}  // namespace
