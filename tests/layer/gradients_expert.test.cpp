// The gradients of a layer by its experts' matrices: every kind of expert, through the best engine.

#include <moe/moe.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <support/gradient_check.hpp>
#include <support/parameters.hpp>

TEMPLATE_TEST_CASE("gradients of experts", "[layer][gradients]", moe::Mlp<moe::Relu>, moe::Mlp<moe::Gelu>,
                   moe::Mlp<moe::Silu>, moe::GatedMlp<moe::Relu>, moe::GatedMlp<moe::Gelu>, moe::GatedMlp<moe::Silu>) {
  // more than one group of 16 columns, and a part of one
  const moe::Layer layer{moe::Shape<>{.experts = 4, .hidden = 18, .intermediate = 35},
                         moe::SoftmaxTopK<2>(),
                         TestType(),
                         moe::NoBalance(),
                         moe::Dropless(),
                         moe::Precision<double>(),
                         moe::BestEngine()};
  auto p = layer.parameters(test::Exec());
  test::scatter(p);
  const auto report = test::check_gradients(layer, p, {.tokens = 7, .in = 18});
  CAPTURE(report.where);
  CHECK(report.worst < 1e-6);
  CHECK(report.checked.size() == 4);
}
