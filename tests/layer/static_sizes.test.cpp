// Sizes in the type and sizes in the object are one code path: they give the same bits.

#include <moe/moe.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <support/compare.hpp>
#include <support/layers.hpp>
#include <support/parameters.hpp>
#include <utility>

TEMPLATE_TEST_CASE("static and dynamic sizes give the same bits, forward and backward", "[layer]", moe::BestEngine,
                   moe::PortableTeams) {
  const TestType engine;
  using namespace moe;
  const auto layer = [&](const auto& shape, const auto& router) {
    return Layer{shape, router, SwiGlu(), SwitchLoss(), Dropless(), Precision<float>(), engine};
  };
  const Shape<> sizes{.experts = 6, .hidden = 12, .intermediate = 20};
  const auto x = test::uniform<float>(1, 33 * 12), dy = test::uniform<float>(2, 33 * 12);
  const auto run = [&](const auto& each) {
    auto p = each.parameters(test::Exec());
    test::scatter(p);
    return std::pair{test::forward(each, p, x), test::gradients(each, p, x, dy)};
  };
  const auto [outcome, gradients] = run(layer(sizes, SoftmaxTopK<dynamic>{.select = {.k = 2}}));
  const auto same = [&](const auto& other) {
    CHECK(test::same_bits(other.first.y, outcome.y));
    CHECK(test::same_bits(other.first.losses, outcome.losses));
    CHECK(other.first.ids == outcome.ids);
    for (const auto& [name, values] : gradients) {
      CAPTURE(name);
      CHECK(test::same_bits(other.second.at(name), values));
    }
  };
  same(run(layer(sizes, SoftmaxTopK<2>())));
  same(run(layer(Shape<6, 12, 20>(), SoftmaxTopK<2>())));
}

TEST_CASE("a static layer is empty but for its numbers", "[layer]") {
  using namespace moe;
  using Router = moe::Router<LinearProjection<>, Softmax, TopK<2>, Keep>;
  STATIC_REQUIRE(sizeof(Layer<Shape<6, 12, 20>, Router, SwiGlu>) == sizeof(double));  // the projection's stddev
}
