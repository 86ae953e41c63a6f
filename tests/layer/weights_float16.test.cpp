// Layers with weights of two bytes under rows of float.

#include <support/quantised.hpp>

#include <catch2/catch_test_macros.hpp>

TEST_CASE("a layer with weights in bfloat16", "[layer][quantised]") { test::coded::check<float, moe::bfloat16>(); }
TEST_CASE("a layer with weights in half", "[layer][quantised]") { test::coded::check<float, moe::half>(); }
