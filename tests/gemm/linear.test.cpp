// The dense map that a projection and a Linear block share: tests/layer/linear.test.cpp has its products and gradients;
// here are its tensors and what it asks an engine for.

#include <moe/gemm/linear.hpp>

#include <catch2/catch_test_macros.hpp>
#include <moe/core/layout.hpp>
#include <support/parameters.hpp>
#include <support/views.hpp>
#include <type_traits>
#include <vector>

namespace {

template <class BiasT, class LayoutT>
auto parameters(int out, int in) {
  return moe::detail::DenseMap<BiasT>::template parameters<float, LayoutT>(
      moe::ParameterMaker<test::Exec>(test::Exec(), 3, "a."), out, in, moe::Uniform::fan_in(in));
}

}  // namespace

TEST_CASE("a dense map's tensors, with a bias and without, in any layout", "[gemm][linear]") {
  auto plain = parameters<moe::NoBias, moe::RowMajor>(5, 3);
  auto biased = parameters<moe::WithBias, moe::Panels>(5, 3);
  CHECK(test::values_of(plain).size() == 1);
  CHECK(test::values_of(biased).size() == 2);
  CHECK(plain.weight.name == "a.weight");
  CHECK(biased.bias.name == "a.bias");
  CHECK(biased.weight.shape == std::vector{5, 3});
  CHECK(biased.bias.shape == std::vector{5});
  CHECK(moe::to_host(plain.weight) == moe::to_host(biased.weight));
  CHECK(biased.weight.traits.decay);
  CHECK_FALSE(biased.bias.traits.decay);
  CHECK(biased.bias.storage.size() == 16);  // a whole line, so that a vector may be read at any column
}

TEST_CASE("a dense map is a product of one segment", "[gemm][linear]") {
  const moe::EngineLimits limits = moe::detail::DenseMap<moe::NoBias>::limits(64, 5, 30);
  CHECK(limits.segments == 1);
  CHECK(limits.rows == 64);
  CHECK(limits.columns == 30);
  const moe::EngineLimits both = limits.max({.segments = 8, .rows = 7, .columns = 31});
  CHECK(both.segments == 8);
  CHECK(both.rows == 64);
  CHECK(both.columns == 31);
}
