// Layers whose rows are rounded to a byte where they are multiplied with quantised weights.

#include <support/quantised.hpp>

#include <catch2/catch_test_macros.hpp>
#include <type_traits>

TEST_CASE("a layer with weights in int8 and rows of a byte", "[layer][quantised]") {
  test::coded::check<float, moe::int8, moe::int8>();
}
TEST_CASE("a layer in bfloat16 with weights in int4 and rows of a byte", "[layer][quantised]") {
  test::coded::check<moe::bfloat16, moe::int4, moe::int8>();
}
TEST_CASE("a layer's quantised twin has the rows that are asked for", "[layer][quantised]") {
  const moe::Layer layer{moe::Shape<4, 8, 8>{}, moe::SoftmaxTopK<2>{}, moe::SwiGlu{}};
  const auto twin = moe::quantised<moe::mxfp4, moe::int8>(moe::Residual{layer});
  using Precision = std::decay_t<decltype(twin.inner())>::precision;
  STATIC_CHECK(std::is_same_v<Precision, moe::Precision<float, moe::mxfp4, moe::int8>>);
}
