#include <moe/core/error.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <stdexcept>
#include <type_traits>

using Catch::Matchers::Message;

TEST_CASE("errors say where, what was expected and what came", "[core][error]") {
  STATIC_REQUIRE(std::is_base_of_v<std::invalid_argument, moe::Error>);
  CHECK_NOTHROW(moe::detail::expect_extent("here", "rows", 3, 3));
  CHECK_THROWS_MATCHES(moe::detail::expect_extent("here", "rows", 3, 4), moe::Error,
                       Message("here: expected rows = 3, got 4"));
  CHECK_NOTHROW(moe::detail::expect_at_most("here", "rows", 3, 3));
  CHECK_THROWS_MATCHES(moe::detail::expect_at_most("here", "rows", 3, 4), moe::Error,
                       Message("here: expected rows <= 3, got 4"));
  CHECK_NOTHROW(moe::detail::expect_at_least("here", "rows", 3, 3));
  CHECK_THROWS_MATCHES(moe::detail::expect_at_least("here", "rows", 3, -4), moe::Error,
                       Message("here: expected rows >= 3, got -4"));
  CHECK_NOTHROW(moe::detail::expect(true, "here", "no"));
  CHECK_THROWS_MATCHES(moe::detail::expect(false, "here", "no"), moe::Error, Message("here: no"));
}
