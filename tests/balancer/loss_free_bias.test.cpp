#include <moe/balancer/loss_free_bias.hpp>

#include <catch2/catch_test_macros.hpp>
#include <moe/core/precision.hpp>
#include <moe/core/shape.hpp>
#include <moe/router/selection_bias.hpp>
#include <reference/balancer.hpp>
#include <support/parameters.hpp>
#include <support/views.hpp>
#include <vector>

namespace {

struct NoEngine {};
using Types = moe::Types<test::Exec, moe::Shape<>, moe::Precision<double>, NoEngine>;

std::vector<double> update(const std::vector<double>& bias, const std::vector<int>& load, float rate) {
  const test::Exec exec;
  const moe::Shape<> shape{.experts = int(load.size()), .hidden = 1, .intermediate = 1};
  const auto p = moe::SelectionBias().parameters<Types>(moe::ParameterMaker<test::Exec>(exec, 0, "router."), shape);
  moe::assign(p.selection_bias, bias);
  moe::LossFreeBias{.rate = rate}.update(moe::Context<Types>{exec, shape, {}, 0}, p, test::numbers<int>(load));
  return moe::to_host(p.selection_bias);
}

}  // namespace

TEST_CASE("LossFreeBias moves each bias by the rate, up where the load is below the mean",
          "[balancer][loss_free_bias]") {
  CHECK(update({0, 0, 0, 0}, {1, 2, 3, 2}, 0.25f) == std::vector{0.25, 0.0, -0.25, 0.0});
  CHECK(update({1, -1}, {0, 9}, 0.5f) == std::vector{1.5, -1.5});
  CHECK(update({0, 0, 0}, {1, 1, 2}, 1) == std::vector{1.0, 1.0, -1.0});  // the mean is 4/3
}

TEST_CASE("LossFreeBias stays where the load is even, zero or of one expert", "[balancer][loss_free_bias]") {
  CHECK(update({0.5, 0.25}, {7, 7}, 1) == std::vector{0.5, 0.25});
  CHECK(update({0.5, 0.25}, {0, 0}, 1) == std::vector{0.5, 0.25});
  CHECK(update({0.5}, {7}, 1) == std::vector{0.5});
}

TEST_CASE("LossFreeBias is the reference's, for loads whose sum needs 64 bits too", "[balancer][loss_free_bias]") {
  for (const int experts : {3, 64, 512}) {
    const auto bias = test::uniform(experts, experts);
    std::vector<int> load;
    for (const double each : test::uniform(experts + 1, experts)) load.push_back(int((each + 1) * 1e9));
    CHECK(update(bias, load, 0.125f) == reference::moved_bias(bias, load, 0.125));
  }
}

TEST_CASE("LossFreeBias has no loss and needs a selection bias", "[balancer][loss_free_bias]") {
  STATIC_REQUIRE(moe::detail::balancing::num_losses<moe::LossFreeBias>() == 0);
  STATIC_REQUIRE(moe::detail::balancing::NeedsSelectionBias<moe::LossFreeBias>);
  STATIC_REQUIRE_FALSE(moe::detail::balancing::NeedsSelectionBias<moe::NoBalance>);
}
