// Checkpoints of quantised parameters, and quantised parameters out of the checkpoints of others.
#include <moe/io/checkpoint.hpp>
#include <moe/transform/quantise.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstring>
#include <span>
#include <string>
#include <support/compare.hpp>
#include <support/parameters.hpp>
#include <support/scratch.hpp>
#include <support/tree.hpp>
#include <support/views.hpp>
#include <vector>

namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

template <class T, class LayoutT = moe::Panels>
test::Tree<T, LayoutT> make(std::uint64_t seed) {
  test::Tree<T, LayoutT> tree;
  tree.add("gate_up", 3, {2, 13, 37});
  tree.add("down", 3, {1, 37, 13});
  moe::for_each_tensor(
      [&](auto& tensor) {
        const auto values = test::uniform(seed + moe::stream_of(tensor.name), tensor.size());
        moe::assign(tensor, test::cast<moe::element_value<T>>(test::cast<float>(values)));
      },
      tree);
  return tree;
}

template <class TreeT>
std::vector<std::string> bits_of(const TreeT& tree) {
  std::vector<std::string> bits;
  for (const auto& tensor : tree.tensors) {
    const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), tensor.storage);
    std::string bytes(host.size() * sizeof(host(0)), '\0');
    std::memcpy(bytes.data(), host.data(), bytes.size());
    bits.push_back(bytes);
  }
  return bits;
}

}  // namespace

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
