/// What a router costs: `route` alone, per token, over numbers of experts E, choices K and tokens T, on tokens of 2048.
/// Sizes and K are numbers at run time. A router is one line of the list below.
///
/// Most routers are a projection [T, hidden] x [hidden, E] and a pass over the scores of each token. The first is the
/// floor: `projection` measures it alone, and the counter `floor` is its arithmetic at the machine's peak. A router that
/// does more in training than in inference is measured in training.

#include "support/shared.hpp"
#include "support/tokens.hpp"

#include <moe/moe.hpp>

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <vector>

namespace {

using bench::Exec;
using moe::dynamic;

constexpr int hidden = 2048, vocabulary = 50000;

using Types = moe::Types<Exec, moe::Shape<>, moe::Precision<>, moe::BestEngine::type<Exec, float>>;

/// Each token's id, for routers that go by it.
Kokkos::View<int*, Exec> token_ids(int num_tokens) {
  Kokkos::View<int*, Exec> ids("bench::ids", num_tokens);
  const auto host = Kokkos::create_mirror_view(ids);
  for (int t = 0; t < num_tokens; ++t) host(t) = int(moe::Random{1, 2}.bits(std::uint64_t(t)).word[0] % vocabulary);
  Kokkos::deep_copy(ids, host);
  return ids;
}

/// A router with all that it works on.
template <class RouterT>
struct Routed {
  struct Scratch {
    Types::engine engine;
    moe::Routing<Types> routing;
    typename RouterT::template Tape<Types> tape;
    typename RouterT::template Workspace<Types> workspace;
  };

  Exec exec;
  moe::Shape<> shape;
  RouterT router;
  typename RouterT::template Parameters<Types> parameters;
  moe::Owned<Scratch, Exec::memory_space> scratch;
  std::vector<bench::Tokens> batches;
  Kokkos::View<int*, Exec> ids;

  Routed(const RouterT& router_, int num_experts, int num_tokens)
      : shape{.experts = num_experts, .hidden = hidden, .intermediate = 1},
        router(router_),
        parameters(router.template parameters<Types>(moe::ParameterMaker<Exec>(exec, 1), shape)),
        scratch(make_scratch(num_tokens)),
        batches(bench::token_batches(num_tokens, hidden)),
        ids(token_ids(num_tokens)) {
    router.check(shape);
  }

  template <class TapeT>
  void route(const bench::Tokens& x, const TapeT& tape) const {
    const moe::Context<Types> context{exec, shape, scratch.engine, int(x.extent(0))};
    const moe::Matrix<const float, Exec::memory_space> rows(x);
    router.route(context, parameters, moe::inputs(rows, moe::TokenIds{ids}, moe::Step{1}), scratch.routing, tape,
                 scratch.workspace);
  }

 private:
  auto make_scratch(int num_tokens) const {
    const auto make = [&](auto& arena) {
      Scratch s;
      s.engine = Types::engine(exec, arena, router.limits(shape, num_tokens));
      s.routing = moe::Routing<Types>(arena, num_tokens, router.slots(shape), shape.experts, false);
      if constexpr (moe::detail::DrawsNoise<RouterT>) s.routing.noise = {arena, num_tokens, shape.experts};
      s.tape = router.template tape<Types>(arena, shape, num_tokens);
      s.workspace = moe::detail::workspace_of<Types>(router, arena, shape, num_tokens, moe::Use::training);
      return s;
    };
    return moe::detail::carve(exec, moe::detail::allocate(exec, "bench::scratch", moe::detail::measure<Exec>(make)),
                              make);
  }
};

enum class Pass { inference, training };

/// make(k) gives the router; `projects`: its logits are a product of x.
template <Pass pass = Pass::inference, class MakeT>
bool add(const std::string& name, const std::vector<int>& choices, const MakeT& make, bool projects = true) {
  const auto body = [=](benchmark::State& state) {
    const int experts = int(state.range(0)), k = int(state.range(1)), num_tokens = int(state.range(2));
    const auto& routed = *bench::shared(
        name + "/" + std::to_string(experts) + "/" + std::to_string(k) + "/" + std::to_string(num_tokens),
        [&] { return Routed<decltype(make(k))>(make(k), experts, num_tokens); });
    std::size_t next = 0;
    for (auto _ : state) {
      const bench::Tokens& x = routed.batches[next++ % routed.batches.size()];
      bench::timed(state, [&] {
        if constexpr (pass == Pass::training) {
          routed.route(x, routed.scratch.tape);
        } else {
          routed.route(x, moe::NoTape{});
        }
      });
    }
    bench::report_per_token(state, num_tokens, projects ? 2.0 * hidden * experts : 0);
  };
  auto* const added = benchmark::RegisterBenchmark(name.c_str(), body);
  added->ArgNames({"E", "K", "T"})->UseManualTime()->Unit(benchmark::kMicrosecond);
  for (const int num_tokens : {1, 512}) {
    for (const int experts : {8, 64, 256}) {
      for (const int k : choices) added->Args({experts, k, num_tokens});
    }
  }
  return true;
}

/// Chooses nobody: what is left is the projection.
struct NoChoice {
  template <class ShapeT>
  KOKKOS_FUNCTION int slots(const ShapeT&) const {
    return 1;
  }
  template <class CandidatesT>
  KOKKOS_FUNCTION void operator()(const CandidatesT&, int* ids) const {
    ids[0] = -1;
  }
};

using Linear = moe::LinearProjection<>;
template <class SelectT, class ProjectionT = Linear>
using SoftmaxRouter = moe::Router<ProjectionT, moe::Softmax, SelectT>;
using moe::TopK;

const bool added[] = {
    add("projection", {1}, [](int) { return moe::Router<Linear, moe::IdentityScore, NoChoice>{}; }),
    add("softmax_top_k", {1, 2, 8}, [](int k) { return SoftmaxRouter<TopK<dynamic>>{.select = {.k = k}}; }),
    add("sigmoid_top_k_with_bias", {1, 2, 8},
        [](int k) { return moe::SigmoidTopK<dynamic, moe::Normalise, moe::SelectionBias>{.select = {.k = k}}; }),
    add("sqrt_softplus_top_k", {2},
        [](int k) { return moe::Router<Linear, moe::SqrtSoftplus, TopK<dynamic>>{.select = {.k = k}}; }),
    add("top_k_softmax", {2, 8}, [](int k) { return moe::TopKSoftmax<dynamic>{.select = {.k = k}}; }),
    add("group_top_k", {2},
        [](int k) {
          return moe::Router<Linear, moe::Sigmoid, moe::GroupTopK<dynamic, dynamic, dynamic>, moe::Normalise>{
              .select = {.k = k, .groups = 4, .top_groups = 2}};
        }),
    add("top_p", {8}, [](int k) { return SoftmaxRouter<moe::TopP<dynamic>>{.select = {.max_k = k}}; }),
    add("threshold", {8},
        [](int k) { return moe::Router<Linear, moe::ReluScore, moe::Threshold<dynamic>>{.select = {.max_k = k}}; }),
    add("all_experts", {1}, [](int) { return SoftmaxRouter<moe::AllExperts>{}; }),
    add("expert_choice", {2}, [](int k) { return moe::ExpertChoiceRouter{.select = {.capacity_factor = double(k)}}; }),
    add("sinkhorn", {2}, [](int k) { return SoftmaxRouter<moe::Sinkhorn<dynamic>>{.select = {.k = k}}; }),
    add<Pass::training>("sinkhorn_training", {2},
                        [](int k) { return SoftmaxRouter<moe::Sinkhorn<dynamic>>{.select = {.k = k}}; }),
    add<Pass::training>("jitter_training", {2},
                        [](int k) { return SoftmaxRouter<TopK<dynamic>, moe::Jitter<>>{.select = {.k = k}}; }),
    add<Pass::training>("noisy_training", {2}, [](int k) { return moe::NoisyTopK<dynamic>{.select = {.k = k}}; }),
    add("masked", {2}, [](int k) { return SoftmaxRouter<TopK<dynamic>, moe::Masked<>>{.select = {.k = k}}; }),
    add(
        "hash", {1, 2}, [](int k) { return moe::HashRouter<dynamic>{.rule = {.k = k}}; }, false),
    add(
        "table", {1, 2}, [](int k) { return moe::TableRouter<dynamic>{.rule = {.k = k, .vocabulary = vocabulary}}; },
        false),
    add(
        "random", {1, 2}, [](int k) { return moe::RandomRouter<dynamic>{.rule = {.k = k}}; }, false),
};

}  // namespace
