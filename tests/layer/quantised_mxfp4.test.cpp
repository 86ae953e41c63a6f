// Layers with weights in mxfp4 under rows of float.

#include <support/quantised.hpp>

#include <catch2/catch_test_macros.hpp>

TEST_CASE("a layer with weights in mxfp4", "[layer][quantised]") { test::coded::check<float, moe::mxfp4>(); }
