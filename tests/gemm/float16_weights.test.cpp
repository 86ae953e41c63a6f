#include <catch2/catch_template_test_macros.hpp>
#include <support/coded_products.hpp>

TEMPLATE_TEST_CASE("products with weights of two bytes under rows of float", "[gemm][quantised]", moe::bfloat16,
                   moe::half) {
  test::coded_products::check<TestType>();
}
