#include <moe/core/shape.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <type_traits>

TEST_CASE("sizes are static or dynamic, and read the same", "[core][shape]") {
  STATIC_REQUIRE(std::is_empty_v<moe::Size<4>>);
  STATIC_REQUIRE(std::is_empty_v<moe::Shape<64, 512, 1024>>);
  STATIC_REQUIRE(moe::Shape<64, 512, 1024>{}.hidden == 512);
  STATIC_REQUIRE(moe::Size<4>::is_static);
  STATIC_REQUIRE_FALSE(moe::Size<moe::dynamic>::is_static);
  constexpr moe::Shape<> shape{.experts = 64, .hidden = 512, .intermediate = 1024};
  STATIC_REQUIRE(shape.experts == 64);
  STATIC_REQUIRE(shape.intermediate == 1024);
  STATIC_REQUIRE(sizeof(moe::Shape<>) == 3 * sizeof(int));
  constexpr moe::Shape<64, moe::dynamic, 1024> mixed{.hidden = 3};
  STATIC_REQUIRE(mixed.hidden == 3);
  STATIC_REQUIRE(mixed.experts == 64);
}

TEST_CASE("a size that was left out is not positive", "[core][shape]") {
  CHECK_NOTHROW(moe::detail::expect_positive(moe::Shape<1, 1, 1>()));
  CHECK_THROWS_MATCHES(moe::detail::expect_positive(moe::Shape<>()), moe::Error,
                       Catch::Matchers::Message("moe::Shape: expected experts >= 1, got 0"));
  CHECK_THROWS_MATCHES((moe::detail::expect_positive(moe::Shape<4, 0, 1>())), moe::Error,
                       Catch::Matchers::Message("moe::Shape: expected hidden >= 1, got 0"));
}
