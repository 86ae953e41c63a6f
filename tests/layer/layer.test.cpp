#include <moe/layer/layer.hpp>
#include <moe/moe.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <reference/balancer.hpp>
#include <reference/layer.hpp>
#include <support/layers.hpp>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

template <class T, class EngineT>
struct Setting {
  using type = T;
  using Engine = EngineT;
};
using Float = Setting<float, moe::BestEngine>;
using Double = Setting<double, moe::BestEngine>;
using FloatPortable = Setting<float, moe::PortableTeams>;
using DoublePortable = Setting<double, moe::PortableTeams>;

template <class LayerT>
void check(const LayerT& layer, reference::Router router, reference::Activation activation, bool gated) {
  using T = typename LayerT::storage;
  const int experts = layer.shape().experts, hidden = layer.hidden();
  auto p = layer.parameters(test::Exec());
  test::scatter(p);
  router.weight = test::doubles(p.router.weight);
  const reference::Experts kinds{test::doubles(p.experts.in), test::doubles(p.experts.down), experts, gated,
                                 activation};
  for (const int tokens : {1, 2, 33}) {
    CAPTURE(tokens);
    const auto x = test::uniform<T>(tokens, tokens * hidden);
    const auto expected = router(x, hidden);
    const auto outcome = test::forward(layer, p, x);
    CHECK(outcome.ids == expected.ids);
    CHECK(outcome.load == reference::load(expected.ids, experts));
    CHECK(test::error(outcome.y, reference::combine(x, hidden, expected, kinds)) < 2 * test::tolerance<T>);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("a layer is the gated sum of the chosen experts", "[layer]", Float, Double, FloatPortable,
                   DoublePortable) {
  using T = typename TestType::type;
  const typename TestType::Engine engine;
  const moe::Precision<T> precision;
  using namespace moe;
  SECTION("softmax, SwiGlu, widths that are no multiple of anything") {
    check(Layer{Shape<>{.experts = 6, .hidden = 37, .intermediate = 21}, SoftmaxTopK<2>(), SwiGlu(), NoBalance(),
                Dropless(), precision, engine},
          {.k = 2}, reference::silu, true);
  }
  SECTION("sigmoid, normalised, Mlp, whole lines") {
    check(
        Layer{Shape<8, 32, 64>(), SigmoidTopK<3, Normalise>(), Mlp<Gelu>(), NoBalance(), Dropless(), precision, engine},
        {.score = reference::sigmoid, .k = 3, .normalised = true}, reference::gelu, false);
  }
}

TEST_CASE("one expert, and k = E", "[layer]") {
  using namespace moe;
  check(Layer{Shape<>{.experts = 1, .hidden = 9, .intermediate = 5}, SoftmaxTopK<1>(), SwiGlu()}, {.k = 1},
        reference::silu, true);
  check(
      Layer{Shape<>{.experts = 5, .hidden = 9, .intermediate = 5}, SoftmaxTopK<dynamic>{.select = {.k = 5}}, SwiGlu()},
      {.k = 5}, reference::silu, true);
}

TEST_CASE("hidden and intermediate of 1", "[layer]") {
  using namespace moe;
  check(
      Layer{Shape<>{.experts = 3, .hidden = 1, .intermediate = 1}, SoftmaxTopK<dynamic>{.select = {.k = 2}}, SwiGlu()},
      {.k = 2}, reference::silu, true);
}

TEST_CASE("what a layer tells of itself", "[layer]") {
  using namespace moe;
  const Layer layer{Shape<>{.experts = 6, .hidden = 12, .intermediate = 20}, SoftmaxTopK<2>(), SwiGlu(),
                    Balance{SwitchLoss{.weight = 0.5f}, ZLoss()}};
  CHECK(layer.shape().experts == 6);
  CHECK(layer.hidden() == 12);
  CHECK(layer.slots() == 2);
  CHECK(layer.loss_names() == std::vector<std::string>{"switch", "z"});
  CHECK(std::get<0>(layer.balancer().balancers).weight == 0.5f);
  STATIC_REQUIRE(std::is_same_v<decltype(layer)::storage, float>);
}
