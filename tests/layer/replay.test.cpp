// A recorded routing applied in another run: another precision, engine or set of weights takes the same experts, with
// gates and gradients of its own.

#include <moe/moe.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <support/compare.hpp>
#include <support/gradient_check.hpp>
#include <support/layers.hpp>
#include <support/parameters.hpp>
#include <vector>

namespace {

constexpr int hidden = 12, experts = 6, tokens = 19;

template <class T, class EngineT, class RouterT>
auto make_layer(const moe::Precision<T>& precision, const EngineT& engine, const RouterT& router) {
  return moe::Layer{moe::Shape<>{.experts = experts, .hidden = hidden, .intermediate = 9},
                    router,
                    moe::SwiGlu(),
                    moe::NoBalance(),
                    moe::Dropless(),
                    precision,
                    engine};
}

using Ids = test::Rows<int>;

template <class LayerT>
auto parameters_of(const LayerT& layer, int seed) {
  auto p = layer.parameters(test::Exec());
  test::scatter(p, seed);
  return p;
}

/// The choice that a server in few bytes, with the portable engine, makes.
template <class T>
Ids recorded() {
  const auto server = make_layer(moe::Precision<T>(), moe::PortableTeams(), moe::SoftmaxTopK<2>());
  const auto p = parameters_of(server, 3);
  const test::Exec exec;
  auto workspace = server.workspace(exec, tokens, moe::Use::inference);
  const auto routing = server.make_routing(exec, tokens);
  const auto x = test::cast<T>(test::uniform(1, tokens * hidden));
  server.route(exec, p, test::rows<T>(x, tokens, hidden), routing, workspace);
  const Ids ids("ids", tokens, 2);
  Kokkos::deep_copy(ids, routing.ids);
  return ids;
}

}  // namespace

TEMPLATE_TEST_CASE("a replayed routing takes the recorded experts, with gates of this run", "[layer][replay]", float,
                   moe::bfloat16) {
  const auto ids = recorded<TestType>();
  const auto trainer = make_layer(moe::Precision<double>(), moe::BestEngine(), moe::SoftmaxTopK<2>());
  const auto p = parameters_of(trainer, 4);  // other weights: it would choose otherwise
  const test::Exec exec;
  auto workspace = trainer.workspace(exec, tokens);
  auto tape = trainer.tape(exec, tokens);
  const auto x = test::rows<double>(test::uniform(1, tokens * hidden), tokens, hidden);
  const auto y = test::rows<double>(tokens, hidden), z = test::rows<double>(tokens, hidden);
  trainer.forward(exec, p, x, y, tape, workspace);
  CHECK(test::read(trainer, tape, tokens).ids != test::to_host(ids));

  trainer.forward(exec, p, moe::inputs(x, moe::Replay{ids}), y, tape, workspace);
  const auto outcome = test::read(trainer, tape, tokens);
  CHECK(outcome.ids == test::to_host(ids));
  for (int t = 0; t < tokens; ++t) {
    for (int slot = 0; slot < 2; ++slot) {
      CHECK(outcome.gates[t * 2 + slot] == outcome.scores[t * experts + outcome.ids[t * 2 + slot]]);
    }
  }
  trainer.forward(exec, p, moe::inputs(x, moe::Replay{ids}), z, workspace);
  CHECK(test::to_host(z) == test::to_host(y));
}

TEMPLATE_TEST_CASE("gradients flow through a replayed routing", "[layer][replay]", float, moe::bfloat16) {
  const auto ids = recorded<TestType>();
  const auto with = [&](const auto& x) { return moe::inputs(x, moe::Replay{ids}); };
  const auto check = [&](const auto& layer) {
    const auto report = test::check_gradients(layer, parameters_of(layer, 4), {.tokens = tokens, .in = hidden}, with);
    CAPTURE(report.where);
    CHECK(report.worst < 1e-6);
    CHECK(report.checked.size() == 4);
  };
  check(make_layer(moe::Precision<double>(), moe::BestEngine(), moe::SigmoidTopK<2, moe::Normalise>()));
  check(make_layer(moe::Precision<double>(), moe::BestEngine(), moe::TopKSoftmax<2>()));
}

TEST_CASE("a recorded routing that fits no router here is told, or its slots stay empty", "[layer][replay]") {
  const auto layer = make_layer(moe::Precision<double>(), moe::BestEngine(), moe::SoftmaxTopK<2>());
  const auto p = parameters_of(layer, 4);
  const test::Exec exec;
  auto workspace = layer.workspace(exec, tokens);
  auto tape = layer.tape(exec, tokens);
  const auto x = test::rows<double>(test::uniform(1, 3 * hidden), 3, hidden), y = test::rows<double>(3, hidden);
  using Catch::Matchers::Message;
  CHECK_THROWS_MATCHES(layer.forward(exec, p, moe::inputs(x, moe::Replay{Ids("ids", 4, 2)}), y, workspace), moe::Error,
                       Message("moe::Replay: expected tokens = 3, got 4"));
  CHECK_THROWS_MATCHES(layer.forward(exec, p, moe::inputs(x, moe::Replay{Ids("ids", 3, 1)}), y, workspace), moe::Error,
                       Message("moe::Replay: expected slots = 2, got 1"));
  const Ids ids("ids", 3, 2);
  test::assign(ids, std::vector<int>{5, 5, -7, 2, 6, 1 << 30});
  layer.forward(exec, p, moe::inputs(x, moe::Replay{ids}), y, tape, workspace);
  CHECK(test::read(layer, tape, 3).ids == std::vector<int>{5, -1, -1, 2, -1, -1});
  CHECK(test::all_zero(test::slice(test::to_host(y), 2 * hidden, hidden)));
}
