// Layers with weights of another type than the rows, by the portable engine.

#include <support/quantised.hpp>

#include <catch2/catch_test_macros.hpp>

TEST_CASE("a layer with weights in int4, by the portable engine", "[layer][quantised]") {
  test::coded::check_values<float, moe::int4, moe::PortableTeams>();
}
TEST_CASE("a layer in bfloat16 with weights in mxfp4, by the portable engine", "[layer][quantised]") {
  test::coded::check_values<moe::bfloat16, moe::mxfp4, moe::PortableTeams>();
}
