#include <moe/balancer/z_loss.hpp>

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

template <class T>
test::Balancing<T> balancing(const std::vector<double>& logits, int experts) {
  const int tokens = int(logits.size()) / experts;
  return {tokens, experts, 1, true, std::vector<int>(tokens, 0), logits, logits};
}

}  // namespace

TEMPLATE_TEST_CASE("ZLoss is the reference's", "[balancer][z_loss]", float, double) {
  using T = TestType;
  for (const int experts : {1, 8, 60}) {
    for (const int tokens : {1, 64, 65, 222}) {
      CAPTURE(experts, tokens);
      const auto logits = test::uniform<T>(tokens, tokens * experts, 4);
      const double loss = double(balancing<T>(logits, experts).loss(moe::ZLoss{.weight = 0.25f}));
      CHECK(std::abs(loss / (0.25 * reference::z_loss(logits, experts)) - 1) < test::tolerance<T>);
    }
  }
}

TEST_CASE("ZLoss: the gradient is added to that of the logits, and is a central difference", "[balancer][z_loss]") {
  constexpr int experts = 7, tokens = 66;
  const auto logits = test::uniform(1, tokens * experts, 2);
  const moe::ZLoss balancer{.weight = 0.5f};
  const auto here = balancing<double>(logits, experts);
  const auto [d_scores, d_logits] = here.gradient(balancer, 3);
  CHECK(test::all_zero(d_scores));
  for (std::size_t i = 0; i < logits.size(); i += 5) {
    auto plus = logits, minus = logits;
    plus[i] += 1e-4, minus[i] -= 1e-4;
    const double above = balancing<double>(plus, experts).loss(balancer);
    const double below = balancing<double>(minus, experts).loss(balancer);
    CHECK(std::abs(d_logits[i] - 3 * (above - below) / 2e-4) < 1e-8);
  }
  auto twice = d_logits;
  for (double& each : twice) each *= 2;
  CHECK(test::error(here.gradient(balancer, 3, d_logits).second, twice) < 1e-14);
}

TEST_CASE("ZLoss of huge logits is their square, not infinite", "[balancer][z_loss]") {
  const auto huge = balancing<float>({1e4, 0, -1e4, -1e4, -1e4, -1e4}, 3);
  const double second = -1e4 + std::log(3.0);
  CHECK(std::abs(huge.loss(moe::ZLoss{.weight = 1}) / ((1e8 + second * second) / 2) - 1) < 1e-6);
  for (const float each : huge.gradient(moe::ZLoss{.weight = 1}, 1).second) CHECK(std::isfinite(each));
}

TEST_CASE("golden: ZLoss as PyTorch's logsumexp squared", "[balancer][z_loss][golden]") {
  const auto& logits = moe::golden::load_balancing.logits;
  const auto& golden = moe::golden::z_loss;
  const auto here = balancing<double>({logits.begin(), logits.end()}, moe::golden::load_balancing.experts);
  CHECK(std::abs(here.loss(moe::ZLoss{.weight = 1}) / golden.loss - 1) < 1e-11);
  CHECK(test::error(here.gradient(moe::ZLoss{.weight = 1}, 1).second,
                    std::vector<double>(golden.d_logits.begin(), golden.d_logits.end())) < 1e-11);
}
