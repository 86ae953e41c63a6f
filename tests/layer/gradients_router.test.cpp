// The gradients of a layer by the router's weights, away from ties: every kind of router, the same experts.

#include <moe/moe.hpp>

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <support/gradient_check.hpp>
#include <support/parameters.hpp>
#include <vector>

namespace {

template <class RouterT>
void check(const RouterT& router, const std::vector<std::string>& tensors) {
  const moe::Layer layer{moe::Shape<>{.experts = 5, .hidden = 7, .intermediate = 9},
                         router,
                         moe::SwiGlu(),
                         moe::Balance{moe::SwitchLoss{.weight = 0.3f}, moe::ZLoss{.weight = 0.2f}},
                         moe::Dropless(),
                         moe::Precision<double>(),
                         moe::PortableTeams()};
  auto p = layer.parameters(test::Exec());
  test::scatter(p);
  const auto report = test::check_gradients(layer, p, {.tokens = 6, .in = 7});
  CAPTURE(report.where);
  CHECK(report.worst < 1e-6);
  CHECK(report.checked == tensors);
}

const std::vector<std::string> plain{"router.weight", "experts.gate_up", "experts.down", "x"};
const std::vector<std::string> biased{"router.weight", "router.bias", "experts.gate_up", "experts.down", "x"};

}  // namespace

using namespace moe;

TEST_CASE("gradients: softmax, kept", "[layer][gradients]") {
  check(SoftmaxTopK<2>(), plain);
  check(SoftmaxTopK<dynamic>{.select = {.k = 1}}, plain);
  check(SoftmaxTopK<dynamic>{.select = {.k = 5}}, plain);
}
TEST_CASE("gradients: softmax, normalised", "[layer][gradients]") { check(SoftmaxTopK<2, Normalise>(), plain); }
TEST_CASE("gradients: sigmoid, kept", "[layer][gradients]") { check(SigmoidTopK<3>(), plain); }
TEST_CASE("gradients: sigmoid, normalised with an epsilon, with a selection bias", "[layer][gradients]") {
  // an epsilon so large that one that is missing shows; the bias has no gradient
  check(SigmoidTopK<3, Normalise, SelectionBias>{.weigh = {.epsilon = 0.25}}, plain);
}
TEST_CASE("gradients: a projection with a bias", "[layer][gradients]") {
  check(Router<LinearProjection<WithBias>, Softmax, TopK<2>, Keep>(), biased);
}
