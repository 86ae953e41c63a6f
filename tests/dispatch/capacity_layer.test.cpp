// Capacity in a layer: what is left out, what is counted, and the gradients where assignments were dropped.

#include <moe/moe.hpp>

#include <catch2/catch_test_macros.hpp>
#include <reference/balancer.hpp>
#include <reference/capacity.hpp>
#include <support/compare.hpp>
#include <support/gradient_check.hpp>
#include <support/layers.hpp>
#include <support/padding.hpp>
#include <support/parameters.hpp>
#include <vector>

namespace {

constexpr int experts = 5, hidden = 7, tokens = 12;

template <class DispatcherT>
auto layer_with(const DispatcherT& dispatcher) {
  return moe::Layer{moe::Shape<>{.experts = experts, .hidden = hidden, .intermediate = 9},
                    moe::SoftmaxTopK<3, moe::Normalise>(),
                    moe::SwiGlu(),
                    moe::SwitchLoss{.weight = 0.3f},
                    dispatcher,
                    moe::Precision<double>(),
                    moe::PortableTeams()};
}

/// The result of a layer whose router has the dropped ids left out, with x for the tokens that lost all of theirs if they
/// are passed; the statistics; the gradients.
template <class DispatcherT>
void check(const DispatcherT& dispatcher, const reference::Capacity& keep, bool passed = false) {
  const test::Exec exec;
  const auto layer = layer_with(dispatcher);
  const auto dropless = layer_with(moe::Dropless());
  auto p = layer.parameters(exec);
  test::scatter(p);
  const auto x = test::uniform(1, tokens * hidden);
  const auto outcome = test::forward(layer, p, x);
  const auto kept = keep(outcome.ids, outcome.gates, 3, experts);

  auto workspace = dropless.workspace(exec, tokens);
  const auto routing = dropless.make_routing(exec, tokens);
  const auto plan = dropless.make_plan(exec, tokens);
  const auto y = test::rows<double>(tokens, hidden);
  test::assign(routing.ids, kept);
  test::assign(routing.gates, outcome.gates);
  dropless.plan(exec, routing, plan, workspace);
  dropless.apply(exec, {p.router, p.experts, p.made_for}, test::rows<double>(x, tokens, hidden), routing, plan, y,
                 workspace);
  auto expected = test::to_host(y);
  int lost = 0, dropped = 0;
  for (int t = 0; t < tokens; ++t) {
    int places = 0;
    for (int slot = 0; slot < 3; ++slot) places += kept[t * 3 + slot] >= 0;
    dropped += 3 - places;
    lost += places == 0;
    for (int d = 0; passed && places == 0 && d < hidden; ++d) expected[t * hidden + d] = x[t * hidden + d];
  }
  CHECK(test::same_bits(outcome.y, expected));
  CHECK(dropped > 0);
  CHECK((lost > 0 || !passed));
  CHECK(outcome.dropped == dropped);
  CHECK(outcome.load == reference::load(outcome.ids, experts));

  const auto report = test::check_gradients(layer, p, {.tokens = tokens, .in = hidden});
  CAPTURE(report.where);
  CHECK(report.worst < 1e-6);
}

}  // namespace

using namespace moe;

TEST_CASE("a layer with capacity by position", "[layer][capacity][gradients]") {
  check(Capacity<>{.factor = 0.5}, reference::Capacity{.factor = 0.5});
}
TEST_CASE("a layer with capacity by gate", "[layer][capacity][gradients]") {
  check(Capacity<DropByGate>{.per_expert = 2}, reference::Capacity{.before = reference::by_gate, .per_expert = 2});
}
TEST_CASE("a layer with fill-in and rectification", "[layer][capacity][gradients]") {
  check(Capacity<FillIn, Rectify>{.factor = 0.3},
        reference::Capacity{
            .factor = 0.3, .before = reference::by_position_and_gate, .spare_slots = 1, .rectified = true});
}
TEST_CASE("a layer with capacity by priority, dropped tokens pass as identity", "[layer][capacity][gradients]") {
  check(Capacity<DropByPriority, PassIdentity>{.factor = 0.3},
        reference::Capacity{.factor = 0.3, .before = reference::by_priority}, true);
}

TEST_CASE("padding asks for no place, and does not pass", "[layer][capacity][padding]") {
  // a fixed number of places: the factor's is counted for padding too
  test::check_padding(layer_with(Capacity<DropByPriority, PassIdentity>{.per_expert = 3}));
}
TEST_CASE("a layer without any place gives zeros", "[layer][capacity]") {
  const auto layer = layer_with(Capacity<>{.per_expert = 0});
  auto p = layer.parameters(test::Exec());
  const auto outcome = test::forward(layer, p, test::uniform(1, tokens * hidden));
  CHECK(test::all_zero(outcome.y));
  CHECK(outcome.dropped == 3 * tokens);
}
