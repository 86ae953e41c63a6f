#include <moe/balancer/sequence_balance.hpp>

#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <limits>
#include <moe/balancer/switch_loss.hpp>
#include <moe/core/error.hpp>
#include <reference/balancer.hpp>
#include <support/balancer_contract.hpp>
#include <support/balancers.hpp>
#include <support/compare.hpp>
#include <vector>

namespace {

void check(int length, bool per_choice) {
  const moe::SequenceBalance balancer{.weight = 0.5f, .sequence_length = length, .per_choice = per_choice};
  const auto reference = [=](const reference::Batch& b) {
    return 0.5 * reference::sequence_balance(b, length == 0 ? b.tokens : length, per_choice);
  };
  test::check_balancer(balancer, reference);
}

}  // namespace

TEST_CASE("SequenceBalance keeps the contract of balancers", "[balancer][sequence_balance]") {
  check(3, true);  // shorter than a block of additions, and than most batches; the last one is shorter
  check(100, false);
  check(0, true);
}

TEST_CASE("SequenceBalance: lengths around those of batch and block", "[balancer][sequence_balance]") {
  for (const int tokens : {1, 63, 64, 65, 130}) {
    for (const int length : {1, 2, 63, 64, 65, 129, 130, 131, std::numeric_limits<int>::max()}) {
      CAPTURE(tokens, length);
      const auto b = test::balancer_contract::batch(tokens, 6, 2, test::balancer_contract::Scores::sigmoid);
      const moe::SequenceBalance balancer{.weight = 1, .sequence_length = length};
      const auto reference = [=](const reference::Batch& each) { return reference::sequence_balance(each, length); };
      test::balancer_contract::check_loss<double>(balancer, reference, b);
      test::balancer_contract::check_loss<double>(balancer, reference, test::balancer_contract::with_padding(b));
    }
  }
}

TEST_CASE("SequenceBalance: a sequence of padding alone is none", "[balancer][sequence_balance]") {
  // the second of three sequences is padding, and so is the end of the third
  auto b = test::balancer_contract::batch(12, 5, 2, test::balancer_contract::Scores::softmax);
  auto without = b;
  b.real = {1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0};
  for (int t = 0; t < 12; ++t) {
    if (b.real[t]) continue;
    test::balancer_contract::spoil(b, t, test::not_a_number);
    b.ids[2 * t] = b.ids[2 * t + 1] = -1;
  }
  const auto erase = [](auto& values, int per_token) {
    values.erase(values.begin() + 10 * per_token, values.end());
    values.erase(values.begin() + 4 * per_token, values.begin() + 8 * per_token);
  };
  without.tokens = 6;
  erase(without.ids, 2), erase(without.gates, 2), erase(without.scores, 5), erase(without.logits, 5);
  without.clean.clear(), without.scale.clear();
  const moe::SequenceBalance balancer{.weight = 1, .sequence_length = 4};
  const test::Balancing<double> padded(b), real(without);
  CHECK(padded.loss(balancer) == real.loss(balancer));
  auto gradient = padded.gradient(balancer, 1).scores;
  CHECK(test::all_zero(test::slice(gradient, 4 * 5, 4 * 5)));
  CHECK(test::all_zero(test::slice(gradient, 10 * 5, 2 * 5)));
  erase(gradient, 5);
  CHECK(gradient == real.gradient(balancer, 1).scores);
}

TEST_CASE("SequenceBalance of one sequence is SwitchLoss", "[balancer][sequence_balance]") {
  const test::Balancing<double> here(
      test::balancer_contract::batch(70, 6, 2, test::balancer_contract::Scores::sigmoid));
  const double expected = here.loss(moe::SwitchLoss{.weight = 0.5f});
  for (const int length : {0, 70, 71}) {
    CHECK(std::abs(here.loss(moe::SequenceBalance{.weight = 0.5f, .sequence_length = length}) - expected) < 1e-15);
  }
}

TEST_CASE("SequenceBalance sees what the batch as a whole hides", "[balancer][sequence_balance]") {
  // two sequences of two tokens, each to one expert
  const test::Balancing<double> here({.tokens = 4,
                                      .experts = 2,
                                      .sum_to_one = true,
                                      .ids = {0, 0, 1, 1},
                                      .gates = {1, 1, 1, 1},
                                      .scores = {0.75, 0.25, 0.75, 0.25, 0.25, 0.75, 0.25, 0.75},
                                      .logits = reference::Values(8, 0.0)});
  CHECK(here.loss(moe::SwitchLoss{.weight = 1}) == 1);
  CHECK(here.loss(moe::SequenceBalance{.weight = 1, .sequence_length = 2}) == 1.5);
}

TEST_CASE("SequenceBalance refuses a negative length", "[balancer][sequence_balance]") {
  const test::Balancing<float> here(test::balancer_contract::batch(4, 3, 1, test::balancer_contract::Scores::softmax));
  CHECK_THROWS_AS(here.loss(moe::SequenceBalance{.sequence_length = -1}), moe::Error);
}
