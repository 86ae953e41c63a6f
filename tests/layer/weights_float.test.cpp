// A layer with weights of float under rows of two bytes.

#include <support/quantised.hpp>

#include <catch2/catch_test_macros.hpp>

TEST_CASE("a layer in bfloat16 with weights in float", "[layer][quantised]") {
  test::coded::check<moe::bfloat16, float>();
}
