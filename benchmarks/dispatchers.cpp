/// What a dispatcher costs: `plan` and `combine` alone, per token, over numbers of experts E, choices K and tokens T of
/// 1024, for routings that are
///
///     even    any K experts of a token are as likely
///     zipf    the probability of expert e goes with 1 / (e + 1)
///     same    all tokens have the same K experts: those of the lowest index
///
/// and for what experts choose (E slots for each token, most of them empty). The floor of combine is reading a row for
/// each assignment, which for 512 tokens may be in a cache. A dispatcher is one line of the list below.

#include "support/shared.hpp"
#include "support/tokens.hpp"

#include <moe/moe.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace {

using bench::Exec;

constexpr int hidden = 1024;

using Types = moe::Types<Exec, moe::Shape<>, moe::Precision<>, moe::BestEngine::type<Exec, float>>;

/// Where the tokens go.
struct Traffic {
  std::string name;
  int num_experts, top_k, num_tokens;

  bool experts_choose() const { return name == "expert_choice"; }
  int places() const { return moe::ExpertChoice{.capacity_factor = double(top_k)}.places(num_tokens, num_experts); }
  int slots() const { return experts_choose() ? num_experts : top_k; }
  int max_rows() const { return experts_choose() ? num_experts * places() : num_tokens * top_k; }

  /// The experts of token t, best first, in its slots and more; -1 for none.
  std::vector<int> experts_of(int t) const {
    std::vector<int> ids(std::size_t(num_experts), 0);
    std::iota(ids.begin(), ids.end(), 0);
    if (name == "same") return ids;
    if (experts_choose()) {  // each takes as many, scattered over the batch
      for (int& e : ids) e = (t * 31 + e * 97) % num_tokens < places() ? e : -1;
      return ids;
    }
    // The largest of log(p) + Gumbel noise: draws without replacement.
    std::vector<double> keys;
    for (int e = 0; e < num_experts; ++e) {
      const double uniform =
          (moe::Random{1, 7}.bits(std::uint64_t(t) * std::uint64_t(num_experts) + std::uint64_t(e)).word[0] + 0.5) /
          4294967296.0;
      keys.push_back((name == "zipf" ? -std::log(e + 1.0) : 0) - std::log(-std::log(uniform)));
    }
    std::sort(ids.begin(), ids.end(), [&](int a, int b) { return keys[std::size_t(a)] > keys[std::size_t(b)]; });
    return ids;
  }
};

/// A dispatcher with a routing and all that it works on.
template <class DispatcherT>
struct Dispatched {
  struct Scratch {
    moe::Routing<Types> routing;
    moe::Plan<Types> plan;
    moe::Matrix<float, Exec::memory_space> rows;
    moe::detail::WorkspaceOf<DispatcherT, Types> workspace;
  };

  Exec exec;
  moe::Shape<> shape;
  DispatcherT dispatcher;
  moe::Owned<Scratch, Exec::memory_space> scratch;
  int max_rows;
  bench::Tokens x, y;

  Dispatched(const DispatcherT& dispatcher_, const Traffic& traffic)
      : shape{.experts = traffic.num_experts, .hidden = hidden, .intermediate = 1},
        dispatcher(dispatcher_),
        scratch(make_scratch(traffic)),
        max_rows(traffic.max_rows()),
        x(bench::random_tokens(traffic.num_tokens, hidden, 1)),
        y("bench::y", traffic.num_tokens, hidden) {
    const auto ids = Kokkos::create_mirror_view(scratch.routing.ids);
    const auto gates = Kokkos::create_mirror_view(scratch.routing.gates);
    for (int t = 0; t < traffic.num_tokens; ++t) {
      const std::vector<int> experts = traffic.experts_of(t);
      for (int slot = 0; slot < traffic.slots(); ++slot) {
        ids(t, slot) = experts[std::size_t(slot)];
        gates(t, slot) = float(1 + t * 37 % 101) / float(1 + slot);  // no order among tokens, the first choice first
      }
    }
    Kokkos::deep_copy(scratch.routing.ids, ids);
    Kokkos::deep_copy(scratch.routing.gates, gates);
    plan();
  }

  void plan() const { dispatcher.plan(context(), scratch.routing, scratch.plan, scratch.workspace); }
  void combine() const {
    const moe::Matrix<float, Exec::memory_space> in(x), out(y);
    dispatcher.combine(context(), scratch.routing, scratch.plan, scratch.rows, out, 0);
    if constexpr (requires { dispatcher.pass(context(), scratch.routing, scratch.plan, in, out); }) {
      dispatcher.pass(context(), scratch.routing, scratch.plan, in, out);
    }
  }
  std::vector<int> load() const {
    const auto load = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), scratch.plan.load);
    return {load.data(), load.data() + load.size()};
  }
  int rows() const {
    const auto offsets = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), scratch.plan.offsets);
    return offsets(int(shape.experts));
  }

 private:
  moe::Context<Types> context() const { return {exec, shape, {}, int(x.extent(0))}; }

  auto make_scratch(const Traffic& traffic) const {
    const int tokens = traffic.num_tokens, rows = traffic.max_rows();
    const auto make = [&](auto& arena) {
      Scratch s;
      s.routing = moe::Routing<Types>(arena, tokens, traffic.slots(), shape.experts, false);
      s.plan = moe::Plan<Types>(arena, tokens, traffic.slots(), rows, shape.experts);
      s.rows = arena.template matrix<float>(rows, hidden);
      s.workspace = dispatcher.template workspace<Types>(arena, shape, tokens, traffic.slots());
      return s;
    };
    return moe::detail::carve(exec, moe::detail::allocate(exec, "bench::scratch", moe::detail::measure<Exec>(make)),
                              make);
  }
};

template <class DispatcherT>
void measure(benchmark::State& state, const std::string& name, const DispatcherT& dispatcher,
             const std::string& traffic, bool plans) {
  const int experts = int(state.range(0)), k = int(state.range(1)), num_tokens = int(state.range(2));
  const std::string key =
      name + "/" + traffic + "/" + std::to_string(experts) + "/" + std::to_string(k) + "/" + std::to_string(num_tokens);
  const auto& d = *bench::shared(key, [&] {
    return Dispatched<DispatcherT>(dispatcher, {traffic, experts, k, num_tokens});
  });
  for (auto _ : state) bench::timed(state, [&] { plans ? d.plan() : d.combine(); });
  bench::report_per_token(state, num_tokens);
  if (plans) bench::report_load(state, d.load());
  state.counters["kept"] = double(d.rows()) / d.max_rows;
}

template <class DispatcherT>
bool add(const std::string& name, const DispatcherT& dispatcher,
         const std::vector<std::string>& traffic = {"even", "zipf", "same"}, int least_k = 1) {
  for (const std::string& kind : traffic) {
    for (const bool plans : {true, false}) {
      auto* const added =
          benchmark::RegisterBenchmark((name + "/" + kind + (plans ? "/plan" : "/combine")).c_str(),
                                       [=](benchmark::State& state) { measure(state, name, dispatcher, kind, plans); });
      added->ArgNames({"E", "K", "T"})->UseManualTime()->Unit(benchmark::kMicrosecond);
      // One token has no skew.
      for (const int num_tokens : kind == traffic[0] ? std::vector{1, 512} : std::vector{512}) {
        for (const auto& [experts, k] : {std::pair{8, 2}, {64, 1}, {64, 2}, {64, 8}, {256, 8}})
          if (k >= least_k) added->Args({experts, k, num_tokens});
      }
    }
  }
  return true;
}

const bool added[] = {
    add("dropless", moe::Dropless{}),
    add("dropless", moe::Dropless{}, {"expert_choice"}),
    add("by_position", moe::Capacity<moe::DropByPosition>{}),
    add("by_token", moe::Capacity<moe::DropByToken>{}),
    add("by_gate", moe::Capacity<moe::DropByGate>{}),
    add("by_priority", moe::Capacity<moe::DropByPriority>{}),
    add("by_gate_identity", moe::Capacity<moe::DropByGate, moe::PassIdentity>{}),
    add("by_gate_rectified", moe::Capacity<moe::DropByGate, moe::Rectify>{}),
    add("fill_in", moe::Capacity<moe::FillIn>{}, {"even", "zipf", "same"}, 2),
};

}  // namespace
