// Checkpoints of quantised parameters.
#include <moe/io/checkpoint.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <span>
#include <string>
#include <support/coded_trees.hpp>
#include <support/scratch.hpp>
#include <support/tree.hpp>
#include <support/views.hpp>
#include <vector>

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using test::coded_trees::bits_of;
using test::coded_trees::make;

TEMPLATE_TEST_CASE("checkpoint: quantised tensors come back with their bits", "[io][quantised]", moe::int8, moe::int4,
                   moe::mxfp4) {
  const test::Scratch scratch;
  const auto tree = make<TestType>(1);
  moe::save(scratch / "file", {{"step", "7"}}, tree);
  const auto other = make<TestType>(2);
  REQUIRE(bits_of(other) != bits_of(tree));
  moe::load(scratch / "file", other);
  CHECK(bits_of(other) == bits_of(tree));
  const auto plain = make<TestType, moe::RowMajor>(2);
  moe::load(scratch / "file", plain);
  CHECK(bits_of(plain) == bits_of(tree));

  const moe::SafetensorsReader file(scratch / "file");
  const std::string name = std::string("gate_up.") + moe::code_name<TestType>;
  CHECK(file.metadata().at("step") == "7");
  CHECK(file.metadata().at(name) == "[3, 2, 13, 37]");
  const auto& entry = file.entries().at(name);
  CHECK(entry.dtype == "U8");
  CHECK(entry.shape == std::vector<std::int64_t>{3, moe::Panels::size<TestType>({2, 13, 37})});
}

TEST_CASE("checkpoint: what is wrong with a file of quantised tensors", "[io][quantised]") {
  const test::Scratch scratch;
  const auto check = [&](const auto& tree, const std::string& sentence) {
    const auto before = bits_of(tree);
    CHECK_THROWS_MATCHES(moe::load(scratch / "file", tree), moe::Error, MessageMatches(ContainsSubstring(sentence)));
    CHECK(bits_of(tree) == before);
  };
  moe::save(scratch / "file", make<moe::int8>(1));
  check(make<moe::int4>(2), "tensor 'gate_up': expected dtype int4, got int8; LoadOptions{.convert = true}");
  check(make<float>(2), "tensor 'gate_up': expected dtype F32, got int8; LoadOptions{.convert = true}");

  test::Tree<moe::int8, moe::Panels> deeper, more;  // as many bytes: inputs are filled up
  deeper.add("gate_up", 3, {2, 13, 38}), deeper.add("down", 3, {1, 37, 13});
  more.add("gate_up", 3, {2, 13, 37}), more.add("down", 3, {1, 37, 13}), more.add("up", 1, {1, 4, 4});
  REQUIRE(moe::Panels::size<moe::int8>({2, 13, 38}) == moe::Panels::size<moe::int8>({2, 13, 37}));
  check(deeper, "tensor 'gate_up': expected shape [3, 2, 13, 38], got [3, 2, 13, 37]");
  check(more, "has no tensor 'up.int8', nor 'up' to make it of");

  const std::string whole = test::read_file(scratch / "file");
  test::write_file(scratch / "file", whole.substr(0, whole.size() - 1));
  check(make<moe::int8>(2), "is truncated");
  moe::SafetensorsWriter writer;  // the bytes without their shape
  const std::int64_t size = moe::Panels::size<moe::int8>({1, 4, 4});
  writer.add<std::uint8_t>("up.int8", {1, size}, [&] { return std::vector<std::uint8_t>(size); });
  writer.write(scratch / "file");
  test::Tree<moe::int8, moe::Panels> up;
  up.add("up", 1, {1, 4, 4});
  check(up, "tensor 'up': expected shape [1, 1, 4, 4], got none in the metadata");
}

TEST_CASE("safetensors: a tensor is read piece by piece", "[io][safetensors]") {
  const test::Scratch scratch;
  moe::SafetensorsWriter writer;
  writer.add<float>("a", {2, 3}, [] { return std::vector<float>{1, 2, 3, 4, 5, 6}; });
  writer.add<float>("b", {1}, [] { return std::vector<float>{7}; });
  writer.write(scratch / "file");
  const moe::SafetensorsReader file(scratch / "file");
  std::vector<float> some(3);
  file.read("a", 2, std::span(some));
  CHECK(some == std::vector<float>{3, 4, 5});
  file.read("a", 6, std::span(some).first(0));
  CHECK_THROWS_MATCHES(file.read("a", 4, std::span(some)), moe::Error,
                       MessageMatches(ContainsSubstring("expected elements up to 6, got 4 and 3 from there")));
  CHECK_THROWS_AS(file.read("a", -1, std::span(some)), moe::Error);
  CHECK_THROWS_MATCHES(file.read("c", 0, std::span(some)), moe::Error,
                       MessageMatches(ContainsSubstring("has no tensor 'c'")));
  std::vector<double> wide(1);
  CHECK_THROWS_MATCHES(file.read("a", 0, std::span(wide)), moe::Error,
                       MessageMatches(ContainsSubstring("expected dtype F64, got F32")));
}
