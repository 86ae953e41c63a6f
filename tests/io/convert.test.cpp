// Parameters out of checkpoints of another type.
#include <moe/io/checkpoint.hpp>
#include <moe/transform/quantise.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <support/coded_trees.hpp>
#include <support/scratch.hpp>
#include <support/views.hpp>

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using test::coded_trees::bits_of;
using test::coded_trees::make;

TEMPLATE_TEST_CASE("checkpoint: quantised tensors out of a file of numbers", "[io][quantised]", float, double,
                   moe::bfloat16, moe::half) {
  const test::Scratch scratch;
  const auto from = make<TestType>(1);
  moe::save(scratch / "file", from);
  const auto check = [&]<class T>(T) {
    const auto expected = make<T>(2), loaded = make<T>(3);
    moe::quantise(test::Exec(), from, expected);
    moe::load(scratch / "file", loaded);
    CHECK(bits_of(loaded) == bits_of(expected));
  };
  check(moe::int8{}), check(moe::int4{}), check(moe::mxfp4{});
}

TEST_CASE("checkpoint: other types are taken where that is asked for", "[io][quantised]") {
  const test::Scratch scratch;
  const auto check = [&]<class FromT, class ToT>(FromT, ToT) {
    const auto from = make<FromT>(1);
    const auto expected = make<ToT>(2), loaded = make<ToT>(3);
    const auto before = bits_of(loaded);
    moe::save(scratch / "file", from);
    CHECK_THROWS_MATCHES(moe::load(scratch / "file", loaded), moe::Error,
                         MessageMatches(ContainsSubstring("LoadOptions{.convert = true} takes the nearest values")));
    CHECK(bits_of(loaded) == before);
    moe::load(scratch / "file", moe::LoadOptions{.convert = true}, loaded);
    moe::quantise(test::Exec(), from, expected);
    CHECK(bits_of(loaded) == bits_of(expected));
  };
  check(moe::bfloat16{}, float{}), check(float{}, moe::bfloat16{}), check(float{}, moe::half{});
  check(double{}, float{}), check(float{}, double{}), check(moe::half{}, moe::bfloat16{});
  check(moe::int8{}, float{}), check(moe::mxfp4{}, moe::bfloat16{}), check(moe::int8{}, moe::int4{});
}
