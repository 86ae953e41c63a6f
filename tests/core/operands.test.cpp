#include <moe/core/operands.hpp>

#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <vector>

TEST_CASE("segments: by offsets, or all rows as one", "[core][operands]") {
  const std::vector<int> offsets{0, 3, 3, 7};
  const moe::Segments segments{offsets.data(), 3, 9};
  CHECK(segments.begin(1) == 3);
  CHECK(segments.end(1) == 3);
  CHECK(segments.end(2) == 7);
  const moe::Segments all{.max_rows = 9};
  CHECK(all.count == 1);
  CHECK(all.begin(0) == 0);
  CHECK(all.end(0) == 9);
}

TEST_CASE("a row source gathers and scales", "[core][operands]") {
  const std::vector<float> data(100);
  const std::vector<int> index{4, 0};
  const std::vector<double> scale{0.5, 2};
  moe::RowSource<float, double> source{.data = data.data(), .stride = 20, .part_stride = 9};
  CHECK(source.row(3) == data.data() + 60);
  CHECK(source.row(3, 1) == data.data() + 69);
  CHECK(source.factor(3) == 1);
  source.index = index.data(), source.scale = scale.data();
  CHECK(source.row(0) == data.data() + 80);
  CHECK(source.row(1, 1) == data.data() + 9);
  CHECK(source.factor(1) == 2);
}

TEST_CASE("a row source reaches beyond 32 bits", "[core][operands]") {
  const char* const base = reinterpret_cast<const char*>(std::uintptr_t(1) << 20);  // never read
  const moe::RowSource<char> source{.data = base, .stride = std::int64_t(1) << 20};
  CHECK(source.row(1 << 20) - base == std::int64_t(1) << 40);
}

TEST_CASE("rows are padded to lines of 64 bytes", "[core][operands]") {
  STATIC_REQUIRE(moe::padded<float>(1) == 16);
  STATIC_REQUIRE(moe::padded<float>(16) == 16);
  STATIC_REQUIRE(moe::padded<float>(17) == 32);
  STATIC_REQUIRE(moe::padded<double>(9) == 16);
  STATIC_REQUIRE(moe::padded<double>(0) == 0);
}
