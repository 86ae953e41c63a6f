#include <moe/balancer/load_loss.hpp>

#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <limits>
#include <moe/balancer/balance.hpp>
#include <moe/balancer/importance_loss.hpp>
#include <reference/balancer.hpp>
#include <support/balancer_contract.hpp>
#include <support/balancers.hpp>
#include <support/compare.hpp>
#include <vector>

TEST_CASE("LoadLoss keeps the contract of balancers", "[balancer][load_loss]") {
  test::check_balancer(
      moe::LoadLoss{.weight = 0.5f}, [](const reference::Batch& b) { return 0.5 * reference::load_loss(b); },
      test::BalancerContract<moe::NoisyTopK<2>>{.nan_stays = false});
}

TEST_CASE("LoadLoss by hand: the threshold of a chosen expert is the next logit, of the others the last chosen",
          "[balancer][load_loss]") {
  // one token, k = 1: noisy 3, 1, 2; clean 2.5, 1, 0; scale 0.5, 1, 2
  const reference::Batch b{.tokens = 1,
                           .experts = 3,
                           .slots = 1,
                           .ids = {0},
                           .gates = {1},
                           .scores = {3, 1, 2},
                           .logits = {3, 1, 2},
                           .clean = {2.5, 1, 0},
                           .scale = {0.5, 1, 2}};
  const auto phi = [](double u) { return 0.5 * (1 + std::erf(u / std::sqrt(2.0))); };
  const reference::Values load{phi((2.5 - 2) / 0.5), phi((1. - 3) / 1), phi((0. - 3) / 2)};
  CHECK(std::abs(test::Balancing<double>(b).loss(moe::LoadLoss{.weight = 1}) - reference::variation(load)) < 1e-13);
}

TEST_CASE("LoadLoss: ties go to the lowest index, as in the choice", "[balancer][load_loss]") {
  reference::Batch b = test::balancer_contract::batch(9, 6, 2, test::balancer_contract::Scores::softmax, 0);
  b.logits.assign(b.logits.size(), 1.0);
  CHECK(std::abs(test::Balancing<double>(b).loss(moe::LoadLoss{.weight = 1}) - reference::load_loss(b)) < 1e-13);
  // experts 0 and 1 are chosen, so their threshold is expert 2; that of the others is expert 1
  const auto gradient = test::Balancing<double>(b).gradient(moe::LoadLoss{.weight = 1}, 1).logits;
  auto alone = b;  // without ties, in the same order
  for (int i = 0; i < 54; ++i) alone.logits[i] = 1 - 1e-9 * (i % 6);
  const auto expected = test::Balancing<double>(alone).gradient(moe::LoadLoss{.weight = 1}, 1).logits;
  CHECK(test::error(gradient, expected) < 1e-6);
}

TEST_CASE("LoadLoss: a NaN logit is the smallest, as in the choice", "[balancer][load_loss]") {
  auto b = test::balancer_contract::batch(9, 6, 2, test::balancer_contract::Scores::softmax);
  auto smallest = b;
  for (int t = 0; t < 9; ++t) b.logits[t * 6 + t % 3] = test::not_a_number, smallest.logits[t * 6 + t % 3] = -1e30;
  const double expected = reference::load_loss(smallest);
  CHECK(std::abs(test::Balancing<double>(b).loss(moe::LoadLoss{.weight = 1}) - expected) < 1e-13);
}

TEST_CASE("LoadLoss: an expert out of service has no load and no gradient", "[balancer][load_loss]") {
  auto b = test::balancer_contract::batch(9, 6, 2, test::balancer_contract::Scores::softmax);
  for (int t = 0; t < 9; ++t) b.logits[t * 6 + 3] = b.clean[t * 6 + 3] = std::numeric_limits<double>::lowest();
  const test::Balancing<double> here(b);
  CHECK(std::abs(here.loss(moe::LoadLoss{.weight = 1}) - reference::load_loss(b)) < 1e-13);
  const auto gradient = here.gradient(moe::LoadLoss{.weight = 1}, 1);
  CHECK(test::balancer_contract::finite(gradient.logits));
  CHECK(test::balancer_contract::finite(gradient.scale));
  for (int t = 0; t < 9; ++t) CHECK(gradient.logits[t * 6 + 3] == 0);
}

TEST_CASE("LoadLoss is 0 where every token goes to every expert", "[balancer][load_loss]") {
  const test::Balancing<float> all(test::balancer_contract::batch(33, 4, 4, test::balancer_contract::Scores::softmax));
  CHECK(all.loss(moe::LoadLoss{.weight = 1}) == 0);
  CHECK(test::all_zero(all.gradient(moe::LoadLoss{.weight = 1}, 1).logits));
  CHECK(test::all_zero(all.gradient(moe::LoadLoss{.weight = 1}, 1).scale));
}

TEST_CASE("LoadLoss looks at the noise of a router, in a Balance too", "[balancer][load_loss]") {
  STATIC_REQUIRE(moe::detail::balancing::NeedsNoise<moe::LoadLoss>);
  STATIC_REQUIRE(moe::detail::balancing::NeedsNoise<moe::Balance<moe::ImportanceLoss, moe::LoadLoss>>);
  STATIC_REQUIRE_FALSE(moe::detail::balancing::NeedsNoise<moe::ImportanceLoss>);
}
