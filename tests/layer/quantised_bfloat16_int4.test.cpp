// A layer with weights in int4 under rows of bfloat16, which some CPUs multiply two at a time.

#include <support/quantised.hpp>

#include <catch2/catch_test_macros.hpp>

TEST_CASE("a layer in bfloat16 with weights in int4", "[layer][quantised]") {
  test::coded::check<moe::bfloat16, moe::int4>();
}
