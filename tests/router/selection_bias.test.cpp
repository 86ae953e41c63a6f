#include <moe/moe.hpp>

#include <catch2/catch_test_macros.hpp>
#include <support/layers.hpp>
#include <support/parameters.hpp>
#include <support/views.hpp>
#include <vector>

namespace {

auto layer() {
  return moe::Layer{moe::Shape<>{.experts = 4, .hidden = 4, .intermediate = 3},
                    moe::SigmoidTopK<2, moe::Keep, moe::SelectionBias>(),
                    moe::Mlp<moe::Relu>(),
                    moe::NoBalance(),
                    moe::Dropless(),
                    moe::Precision<double>()};
}

/// Logits of token t are row t of the identity times these.
const std::vector<double> weight{2,  0, 0, 0,  //
                                 1,  0, 0, 0,  //
                                 0,  0, 0, 0,  //
                                 -1, 0, 0, 0};

}  // namespace

TEST_CASE("a selection bias moves the choice, and never enters a gate", "[router][selection_bias]") {
  const auto mixture = layer();
  auto p = mixture.parameters(test::Exec());
  moe::assign(p.router.weight, weight);
  const std::vector<double> x{1, 0, 0, 0};

  const auto without = test::forward(mixture, p, x);
  CHECK(without.ids == std::vector{0, 1});

  moe::assign(p.router.selection_bias, std::vector{-1.0, 0.0, 0.0, 3.0});
  const auto with = test::forward(mixture, p, x);
  CHECK(with.ids == std::vector{3, 1});  // 3.27, 0.73, 0.5, -0.12
  CHECK(with.scores == without.scores);
  CHECK(with.gates == std::vector{without.scores[3], without.scores[1]});
}

TEST_CASE("a NaN in the selection bias loses its expert the choice, no more", "[router][selection_bias]") {
  const auto mixture = layer();
  auto p = mixture.parameters(test::Exec());
  moe::assign(p.router.weight, weight);
  moe::assign(p.router.selection_bias, std::vector{test::not_a_number, 0.0, 0.0, 0.0});
  const auto outcome = test::forward(mixture, p, std::vector<double>{1, 0, 0, 0});
  CHECK(outcome.ids == std::vector{1, 2});
  CHECK(outcome.gates == std::vector{outcome.scores[1], outcome.scores[2]});
  CHECK(outcome.non_finite == 0);  // which counts logits
}

TEST_CASE("a selection bias is a buffer: saved, not trained, zero at first", "[router][selection_bias]") {
  const auto mixture = layer();
  const auto p = mixture.parameters(test::Exec());
  const auto g = mixture.gradients(test::Exec());
  CHECK(p.router.selection_bias.name == "router.selection_bias");
  CHECK(p.router.selection_bias.shape == std::vector{4});
  CHECK_FALSE(p.router.selection_bias.traits.trainable);
  CHECK_FALSE(p.router.selection_bias.traits.decay);
  CHECK(moe::to_host(p.router.selection_bias) == std::vector{0.0, 0.0, 0.0, 0.0});
  CHECK(g.router.selection_bias.empty());
  CHECK_FALSE(g.router.weight.empty());
}
