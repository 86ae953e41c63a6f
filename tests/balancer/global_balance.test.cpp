#include <moe/balancer/global_balance.hpp>

#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <moe/balancer/switch_loss.hpp>
#include <reference/balancer.hpp>
#include <support/balancer_contract.hpp>
#include <support/balancers.hpp>
#include <support/compare.hpp>
#include <support/layers.hpp>
#include <vector>

TEST_CASE("GlobalBalance keeps the contract of balancers", "[balancer][global_balance]") {
  test::check_balancer(moe::GlobalBalance{.weight = 0.5f},
                       [](const reference::Batch& b) { return 0.5 * reference::global_balance(b); });
  test::check_balancer(moe::GlobalBalance{.weight = 0.5f, .per_choice = false},
                       [](const reference::Batch& b) { return 0.5 * reference::global_balance(b, false); });
}

TEST_CASE("GlobalBalance of one batch is SwitchLoss", "[balancer][global_balance]") {
  auto b = test::balancer_contract::batch(70, 6, 2, test::balancer_contract::Scores::sigmoid);
  b.earlier_load.clear();
  const test::Balancing<double> here(b);
  for (const bool per_choice : {true, false}) {
    const moe::GlobalBalance global{.per_choice = per_choice};
    const moe::SwitchLoss local{.per_choice = per_choice};
    CHECK(here.loss(global) == here.loss(local));
    CHECK(here.gradient(global, 1) == here.gradient(local, 1));
  }
}

TEST_CASE("GlobalBalance: micro-batches that lean, and a step that does not", "[balancer][global_balance]") {
  // all tokens to expert 0 now, as many to expert 1 before
  const reference::Batch b{.tokens = 4,
                           .experts = 2,
                           .sum_to_one = true,
                           .ids = {0, 0, 0, 0},
                           .gates = {1, 1, 1, 1},
                           .scores = {0.75, 0.25, 0.75, 0.25, 0.75, 0.25, 0.75, 0.25},
                           .logits = reference::Values(8, 0.0),
                           .earlier_load = {0, 4}};
  const test::Balancing<double> here(b);
  CHECK(here.loss(moe::GlobalBalance{.weight = 1}) == 1);
  CHECK(here.loss(moe::SwitchLoss{.weight = 1}) == 1.5);
}

TEST_CASE("GlobalBalance counts the micro-batches of a layer since its last update", "[balancer][global_balance]") {
  constexpr int experts = 5, hidden = 7;
  const moe::Layer layer{moe::Shape<>{.experts = experts, .hidden = hidden, .intermediate = 4},
                         moe::SoftmaxTopK<2>(),
                         moe::SwiGlu(),
                         moe::GlobalBalance{.weight = 0.5f},
                         moe::Dropless(),
                         moe::Precision<double>()};
  const test::Exec exec;
  auto p = layer.parameters(exec);
  test::scatter(p);
  auto workspace = layer.workspace(exec, 20);
  auto tape = layer.tape(exec, 20);
  for (const bool updated : {false, true}) {
    std::vector<int> earlier(experts, 0);
    for (const int tokens : {20, 7, 13}) {
      layer.forward(exec, p, test::rows<double>(test::uniform(tokens, tokens * hidden), tokens, hidden),
                    test::rows<double>(tokens, hidden), tape, workspace);
      const auto seen = test::read(layer, tape, tokens);
      const reference::Batch b{.tokens = tokens,
                               .experts = experts,
                               .slots = 2,
                               .sum_to_one = true,
                               .ids = seen.ids,
                               .scores = seen.scores,
                               .earlier_load = earlier};
      CAPTURE(updated, tokens);
      CHECK(std::abs(seen.losses[0] - 0.5 * reference::global_balance(b)) < 1e-13);
      earlier = seen.load;
    }
    layer.update(exec, p, tape);
  }
}
