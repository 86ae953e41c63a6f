// Layers with quantised weights under rows of two bytes.

#include <support/quantised.hpp>

#include <catch2/catch_test_macros.hpp>

TEST_CASE("a layer in half with weights in int4", "[layer][quantised]") { test::coded::check<moe::half, moe::int4>(); }
TEST_CASE("a layer in bfloat16 with weights in mxfp4", "[layer][quantised]") {
  test::coded::check<moe::bfloat16, moe::mxfp4>();
}
