#include <moe/balancer/switch_loss.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <golden/qwen3_moe.hpp>
#include <reference/balancer.hpp>
#include <support/balancers.hpp>
#include <support/compare.hpp>
#include <support/views.hpp>
#include <vector>

namespace {

/// Ids of k experts for each token, some more often than others, in a fixed order.
std::vector<int> skewed_ids(int tokens, int experts, int k) {
  std::vector<int> ids;
  for (int t = 0; t < tokens; ++t) {
    for (int slot = 0; slot < k; ++slot) ids.push_back((t * t + slot) % experts);
  }
  return ids;
}

}  // namespace

TEMPLATE_TEST_CASE("SwitchLoss is the reference's, for probabilities and for other scores", "[balancer][switch_loss]",
                   float, double) {
  using T = TestType;
  for (const int experts : {1, 8, 60}) {
    for (const int tokens : {1, 64, 65, 222}) {
      for (const int k : {1, 3}) {
        if (k > experts) continue;
        for (const bool per_choice : {true, false}) {
          CAPTURE(experts, tokens, k, per_choice);
          const auto ids = skewed_ids(tokens, experts, k);
          const auto load = reference::load(ids, experts);
          const moe::SwitchLoss balancer{.weight = 0.25f, .per_choice = per_choice};

          std::vector<double> sigmoids, probabilities;
          for (int t = 0; t < tokens; ++t) {
            const auto z = test::uniform(t, experts, 2);
            const auto s = reference::sigmoid(z), p = reference::softmax(z);
            for (int e = 0; e < experts; ++e) {
              sigmoids.push_back(double(T(s[e])));
              probabilities.push_back(double(T(p[e])));
            }
          }
          const test::Balancing<T> other(tokens, experts, k, false, ids, sigmoids, sigmoids);
          const test::Balancing<T> softmax(tokens, experts, k, true, ids, probabilities, sigmoids);
          const double expected = 0.25 * reference::switch_loss(sigmoids, load, tokens, k, per_choice);
          CHECK(std::abs(other.loss(balancer) / expected - 1) < test::tolerance<T>);
          const double expected_softmax = 0.25 * reference::switch_loss(probabilities, load, tokens, k, per_choice);
          CHECK(std::abs(softmax.loss(balancer) / expected_softmax - 1) < test::tolerance<T>);
        }
      }
    }
  }
}

TEST_CASE("SwitchLoss: the gradient is added to that of the scores, and is a central difference",
          "[balancer][switch_loss]") {
  constexpr int experts = 7, tokens = 66, k = 2;
  const auto ids = skewed_ids(tokens, experts, k);
  std::vector<double> scores = test::uniform(1, tokens * experts, 0.4);
  for (double& s : scores) s += 0.5;
  const moe::SwitchLoss balancer{.weight = 0.5f};
  for (const bool sum_to_one : {false, true}) {
    CAPTURE(sum_to_one);
    const test::Balancing<double> here(tokens, experts, k, sum_to_one, ids, scores, scores);
    const auto [d_scores, d_logits] = here.gradient(balancer, 3);
    CHECK(test::all_zero(d_logits));
    std::vector<double> expected(scores.size());
    for (std::size_t i = 0; i < scores.size(); i += 5) {
      auto plus = scores, minus = scores;
      plus[i] += 1e-4, minus[i] -= 1e-4;
      const double above = test::Balancing<double>(tokens, experts, k, sum_to_one, ids, plus, plus).loss(balancer);
      const double below = test::Balancing<double>(tokens, experts, k, sum_to_one, ids, minus, minus).loss(balancer);
      const double numeric = 3 * (above - below) / 2e-4;
      CHECK(std::abs(d_scores[i] - numeric) < 1e-9);
    }
    CHECK_FALSE(test::all_zero(d_scores));
    auto twice = d_scores;
    for (double& each : twice) each *= 2;
    CHECK(test::error(here.gradient(balancer, 3, d_scores).first, twice) < 1e-14);  // added
  }
}

TEMPLATE_TEST_CASE("SwitchLoss is its weight at uniform load and scores", "[balancer][switch_loss]", float, double) {
  using T = TestType;
  for (const int experts : {1, 4, 64}) {
    for (const int k : {1, 4}) {
      if (k > experts) continue;
      const int tokens = experts;
      std::vector<int> ids;
      for (int i = 0; i < tokens * k; ++i) ids.push_back((i / k + i % k) % experts);
      const std::vector<double> scores(tokens * experts, 1.0 / experts);
      const test::Balancing<T> uniform(tokens, experts, k, true, ids, scores, scores);
      CHECK(uniform.loss(moe::SwitchLoss{.weight = 0.5f}) == T(0.5));
      CHECK(uniform.loss(moe::SwitchLoss{.weight = 0.5f, .per_choice = false}) == T(0.5) * k);
    }
  }
}

TEST_CASE("SwitchLoss: scores that are all 0 do not divide by it", "[balancer][switch_loss]") {
  const test::Balancing<float> zero(2, 3, 1, false, {0, 1}, std::vector<double>(6, 0.0), std::vector<double>(6, 0.0));
  CHECK(zero.loss(moe::SwitchLoss()) == 0);
}

TEST_CASE("golden: SwitchLoss as transformers' load_balancing_loss_func", "[balancer][switch_loss][golden]") {
  const auto& golden = moe::golden::load_balancing;
  const std::vector<double> logits(golden.logits.begin(), golden.logits.end());
  const int experts = golden.experts, tokens = golden.tokens;
  const auto check = [&](int k, const auto& expected) {
    std::vector<double> scores;
    std::vector<int> ids;
    for (int t = 0; t < tokens; ++t) {
      const auto p = reference::softmax(reference::row(logits, experts, t));
      const auto chosen = reference::top_k(p, {}, k);
      scores.insert(scores.end(), p.begin(), p.end());
      ids.insert(ids.end(), chosen.begin(), chosen.end());
    }
    const test::Balancing<double> balancing(tokens, experts, k, true, ids, scores, logits);
    const moe::SwitchLoss theirs{.weight = 1, .per_choice = false}, ours{.weight = 1};
    CHECK(std::abs(balancing.loss(theirs) / expected.loss - 1) < 1e-11);
    CHECK(std::abs(balancing.loss(ours) * k / expected.loss - 1) < 1e-11);
    // their gradient is that of the logits: through the softmax by hand
    const auto d_p = balancing.gradient(theirs, 1).first;
    std::vector<double> d_logits;
    for (int t = 0; t < tokens; ++t) {
      double mean = 0;
      for (int e = 0; e < experts; ++e) mean += d_p[t * experts + e] * scores[t * experts + e];
      for (int e = 0; e < experts; ++e) d_logits.push_back(scores[t * experts + e] * (d_p[t * experts + e] - mean));
    }
    CHECK(test::error(d_logits, std::vector<double>(expected.d_logits.begin(), expected.d_logits.end())) < 1e-10);
  };
  check(1, golden.top1);
  check(2, golden.top2);
}
