#include <moe/moe.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <reference/router.hpp>
#include <support/compare.hpp>
#include <support/layers.hpp>
#include <support/parameters.hpp>
#include <support/views.hpp>
#include <tuple>
#include <type_traits>
#include <vector>

namespace {

constexpr int experts = 13, hidden = 19;

/// Only its router is used.
template <class T, class EngineT, class RouterT, class ShapeT = moe::Shape<>>
auto layer_of(const RouterT& router, const ShapeT& shape = {.experts = experts, .hidden = hidden, .intermediate = 3}) {
  return moe::Layer{shape,    router, moe::Mlp<moe::Relu>(), moe::NoBalance(), moe::Dropless(), moe::Precision<T>(),
                    EngineT()};
}

template <class T>
struct Decision {
  std::vector<int> ids;
  std::vector<T> gates, scores, logits;
};

template <class LayerT, class ParametersT>
auto route(const LayerT& layer, const ParametersT& p, const std::vector<double>& x) {
  using T = typename LayerT::storage;
  const int width = layer.hidden(), tokens = int(x.size()) / width;
  const test::Exec exec;
  auto workspace = layer.workspace(exec, tokens);
  const auto routing = layer.make_routing(exec, tokens);
  layer.route(exec, p, test::rows<T>(x, tokens, width), routing, workspace);
  const int e = layer.shape().experts;
  return Decision<typename LayerT::compute>{test::to_host(routing.ids), test::to_host(routing.gates),
                                            test::to_host(routing.scores, e), test::to_host(routing.logits, e)};
}

template <class T, class EngineT, class RouterT>
void check(const RouterT& router, reference::Router expected) {
  const auto layer = layer_of<T, EngineT>(router);
  auto p = layer.parameters(test::Exec());
  test::scatter(p);
  expected.weight = test::doubles(p.router.weight);
  if constexpr (requires { p.router.bias; }) {
    if (!p.router.bias.empty()) expected.bias = test::doubles(p.router.bias);
  }
  if constexpr (requires { p.router.selection_bias; }) {
    expected.selection_bias = test::doubles(p.router.selection_bias);
  }
  for (const int tokens : {1, 2, 65}) {
    CAPTURE(tokens);
    const auto x = test::uniform<T>(tokens, tokens * hidden);
    const auto actual = route(layer, p, x);
    const auto by_reference = expected(x, hidden);
    CHECK(test::error(actual.logits, by_reference.logits) < test::tolerance<T>);
    CHECK(test::error(actual.scores, by_reference.scores) < test::tolerance<T>);
    CHECK(actual.ids == by_reference.ids);
    CHECK(test::error(actual.gates, by_reference.gates) < test::tolerance<T>);
  }
}

using Float = std::pair<float, moe::BestEngine>;
using Double = std::pair<double, moe::BestEngine>;
using FloatPortable = std::pair<float, moe::PortableTeams>;
using DoublePortable = std::pair<double, moe::PortableTeams>;

}  // namespace

TEMPLATE_TEST_CASE("routers decide as the reference does", "[router]", Float, Double, FloatPortable, DoublePortable) {
  using T = typename TestType::first_type;
  using Engine = typename TestType::second_type;
  using namespace moe;
  SECTION("SoftmaxTopK") { check<T, Engine>(SoftmaxTopK<3>(), {.k = 3}); }
  SECTION("SoftmaxTopK, normalised") { check<T, Engine>(SoftmaxTopK<3, Normalise>(), {.k = 3, .normalised = true}); }
  SECTION("SigmoidTopK") { check<T, Engine>(SigmoidTopK<4>(), {.score = reference::sigmoid, .k = 4}); }
  SECTION("SigmoidTopK, normalised, with a selection bias") {
    check<T, Engine>(SigmoidTopK<4, Normalise, SelectionBias>{.weigh = {.epsilon = 1e-20}},
                     {.score = reference::sigmoid, .k = 4, .normalised = true, .epsilon = 1e-20});
  }
  SECTION("a projection with a bias, dynamic k") {
    using Biased = Router<LinearProjection<WithBias>, Softmax, TopK<dynamic>, Keep>;
    check<T, Engine>(Biased{.select = {.k = 1}}, {.k = 1});
    check<T, Engine>(Biased{.select = {.k = experts}}, {.k = experts});
  }
}

TEST_CASE("static and dynamic sizes and k decide by the same bits", "[router]") {
  using namespace moe;
  const auto x = test::uniform(1, 33 * hidden);
  const auto all_dynamic = layer_of<float, BestEngine>(SoftmaxTopK<dynamic, Normalise>{.select = {.k = 3}});
  const auto static_k = layer_of<float, BestEngine>(SoftmaxTopK<3, Normalise>());
  const auto all_static = layer_of<float, BestEngine>(SoftmaxTopK<3, Normalise>(), Shape<experts, hidden, 3>());
  auto p = all_dynamic.parameters(test::Exec());
  auto q = static_k.parameters(test::Exec());
  auto r = all_static.parameters(test::Exec());
  test::scatter(p), test::scatter(q), test::scatter(r);
  const auto expected = route(all_dynamic, p, x);
  for (const auto& actual : {route(static_k, q, x), route(all_static, r, x)}) {
    CHECK(actual.ids == expected.ids);
    CHECK(test::same_bits(actual.gates, expected.gates));
    CHECK(test::same_bits(actual.scores, expected.scores));
    CHECK(test::same_bits(actual.logits, expected.logits));
  }
}

TEST_CASE("a router's empty policies take no space", "[router]") {
  STATIC_REQUIRE(std::is_empty_v<decltype(moe::SoftmaxTopK<8>::score)>);
  STATIC_REQUIRE(sizeof(moe::SoftmaxTopK<8>) <= sizeof(double));  // the projection's stddev
}

TEST_CASE("slots and rows: k for each token", "[router]") {
  const moe::Shape<> shape{.experts = 8, .hidden = 4, .intermediate = 4};
  CHECK(moe::SoftmaxTopK<3>().slots(shape) == 3);
  CHECK(moe::SoftmaxTopK<moe::dynamic>{.select = {.k = 5}}.slots(shape) == 5);
  CHECK(moe::SoftmaxTopK<3>().max_rows(shape, 7) == 21);
}
