#include <moe/core/layout.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <set>

namespace {

/// Every element has a place of its own inside the storage.
template <class LayoutT, class T>
bool is_injective(moe::MatrixExtents m) {
  std::set<std::int64_t> places;
  for (int part = 0; part < m.parts; ++part) {
    for (int out = 0; out < m.out; ++out) {
      for (int in = 0; in < m.in; ++in) places.insert(LayoutT::template offset<T>(m, part, out, in));
    }
  }
  return std::int64_t(places.size()) == m.size() && *places.begin() >= 0 &&
         *places.rbegin() < LayoutT::template size<T>(m);
}

}  // namespace

TEMPLATE_TEST_CASE("layouts give each element a place of its own", "[core][layout]", float, double) {
  for (const int parts : {1, 2}) {
    for (const int out : {1, 4, 8, 15, 16, 17, 33}) {
      for (const int in : {1, 5}) {
        CAPTURE(parts, out, in);
        CHECK(is_injective<moe::RowMajor, TestType>({parts, out, in}));
        CHECK(is_injective<moe::Panels, TestType>({parts, out, in}));
      }
    }
  }
}

TEST_CASE("row-major is the order of files, without padding", "[core][layout]") {
  const moe::MatrixExtents m{2, 3, 5};
  CHECK(moe::RowMajor::size<float>(m) == 30);
  CHECK(moe::RowMajor::offset<float>(m, 0, 0, 1) == 1);
  CHECK(moe::RowMajor::offset<float>(m, 0, 1, 0) == 5);
  CHECK(moe::RowMajor::offset<float>(m, 1, 0, 0) == 15);
}

TEST_CASE("panels: one line of 64 bytes for each input feature, gate and up side by side", "[core][layout]") {
  const moe::MatrixExtents m{2, 9, 5};  // 8 outputs of each part in a line of floats: two panels
  CHECK(moe::Panels::size<float>(m) == 2 * 5 * 16);
  CHECK(moe::Panels::offset<float>(m, 0, 0, 0) == 0);
  CHECK(moe::Panels::offset<float>(m, 0, 7, 0) == 7);
  CHECK(moe::Panels::offset<float>(m, 1, 0, 0) == 8);
  CHECK(moe::Panels::offset<float>(m, 0, 0, 1) == 16);
  CHECK(moe::Panels::offset<float>(m, 0, 8, 0) == 80);
  CHECK(moe::Panels::offset<double>({1, 9, 5}, 0, 8, 0) == 40);
}

TEST_CASE("sizes of matrices count beyond 32 bits", "[core][layout]") {
  CHECK(moe::MatrixExtents{2, 1 << 16, 1 << 16}.size() == std::int64_t(1) << 33);
  CHECK(moe::RowMajor::offset<float>({2, 1 << 16, 1 << 16}, 1, 0, 0) == std::int64_t(1) << 32);
  CHECK(moe::Panels::size<float>({2, 1 << 16, 1 << 16}) == std::int64_t(1) << 33);
}
