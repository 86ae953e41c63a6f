#include <moe/core/random.hpp>

#include <algorithm>
#include <array>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

namespace {

std::array<std::uint32_t, 4> words(moe::Random random, std::uint64_t index) {
  const auto block = random.bits(index);
  return {block.word[0], block.word[1], block.word[2], block.word[3]};
}

}  // namespace

TEST_CASE("Random is Philox4x32-10: the known answers of Random123", "[core][random]") {
  using Words = std::array<std::uint32_t, 4>;
  CHECK(words({0, 0}, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const std::uint64_t ones = ~std::uint64_t(0);
  CHECK(words({ones, ones}, ones) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(words({0x299f31d0a4093822, 0x0370734413198a2e}, 0x85a308d3243f6a88) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEMPLATE_TEST_CASE("uniform numbers: from 0 to below 1, on their grid, evenly", "[core][random]", float, double) {
  using T = TestType;
  const moe::Random random{7, 9};
  constexpr int count = 20000;
  const T grid = sizeof(T) == 4 ? T(0x1p24) : T(0x1p53);
  std::vector<int> bins(16, 0);
  bool on_grid = true, in_range = true;
  double sum = 0;
  for (int i = 0; i < count; ++i) {
    const T u = random.uniform<T>(i);
    in_range = in_range && u >= 0 && u < 1;
    on_grid = on_grid && u * grid == std::floor(u * grid);
    ++bins[int(u * 16)];
    sum += double(u);
  }
  CHECK(in_range);
  CHECK(on_grid);
  CHECK(std::abs(sum / count - 0.5) < 4 * std::sqrt(1 / 12.0 / count));
  double chi_squared = 0;  // of 15 degrees of freedom: above 37.7 once in a thousand
  for (const int bin : bins) chi_squared += (bin - count / 16.0) * (bin - count / 16.0) / (count / 16.0);
  CHECK(chi_squared < 37.7);
}

TEMPLATE_TEST_CASE("normal numbers: mean, variance and tails", "[core][random]", float, double) {
  using T = TestType;
  const moe::Random random{11, 3};
  constexpr int count = 50000;
  double sum = 0, squares = 0;
  int beyond_two = 0;
  bool finite = true;
  for (int i = 0; i < count; ++i) {
    const double v = double(random.normal<T>(i));
    finite = finite && std::isfinite(v);
    sum += v, squares += v * v;
    beyond_two += std::abs(v) > 2;
  }
  CHECK(finite);
  CHECK(std::abs(sum / count) < 4 / std::sqrt(double(count)));
  CHECK(std::abs(squares / count - 1) < 4 * std::sqrt(2.0 / count));
  CHECK(std::abs(double(beyond_two) / count - 0.0455) < 4 * std::sqrt(0.0455 / count));
}

TEST_CASE("numbers depend on seed, stream and index, and on nothing else", "[core][random]") {
  std::set<double> distinct;
  for (std::uint64_t seed : {1, 2}) {
    for (std::uint64_t stream : {1, 2}) {
      for (std::uint64_t index : {1, 2}) distinct.insert(moe::Random{seed, stream}.uniform<double>(index));
    }
  }
  CHECK(distinct.size() == 8);
  CHECK(moe::Random{1, 2}.uniform<double>(3) == moe::Random{1, 2}.uniform<double>(3));
}

TEST_CASE("a stream of a name is FNV-1a's hash", "[core][random]") {
  STATIC_REQUIRE(moe::stream_of("") == 0xcbf29ce484222325u);
  STATIC_REQUIRE(moe::stream_of("a") == 0xaf63dc4c8601ec8cu);
  STATIC_REQUIRE(moe::stream_of("foobar") == 0x85944171f73967e8u);
  STATIC_REQUIRE(moe::stream_of("0.router.weight") != moe::stream_of("1.router.weight"));
}
