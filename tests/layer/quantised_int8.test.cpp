// Layers with weights in int8 under rows of float.

#include <support/quantised.hpp>

#include <catch2/catch_test_macros.hpp>

TEST_CASE("a layer with weights in int8", "[layer][quantised]") { test::coded::check<float, moe::int8>(); }
