#include <catch2/catch_template_test_macros.hpp>
#include <support/coded_products.hpp>

TEMPLATE_TEST_CASE("products with quantised weights", "[gemm][quantised]", moe::int8, moe::int4, moe::mxfp4) {
  test::coded_products::check<TestType>();
}
