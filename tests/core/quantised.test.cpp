#include <moe/core/quantised.hpp>
#include <moe/core/tensor.hpp>

#include <algorithm>
#include <catch2/catch_message.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <reference/quantised.hpp>
#include <support/compare.hpp>
#include <support/views.hpp>
#include <type_traits>
#include <vector>

namespace {

template <class T>
using Reference =
    std::conditional_t<std::is_same_v<T, moe::int8>, reference::Int8,
                       std::conditional_t<std::is_same_v<T, moe::int4>, reference::Int4, reference::Mxfp4>>;

template <class T, class LayoutT = moe::Panels>
moe::Tensor<T, test::Memory, LayoutT> make(int count, moe::MatrixExtents m) {
  return {test::Exec(), "w", {count, m.parts, m.out, m.in}, count, m};
}

/// What becomes of the weights of one output.
template <class T>
std::vector<float> coded(const std::vector<float>& weights) {
  const auto tensor = make<T>(1, {1, 1, int(weights.size())});
  moe::assign(tensor, weights);
  return moe::to_host(tensor);
}

/// Each weight is at the nearest level of its group's scale; but for the rounding of one division.
template <class T>
void check_nearest(const std::vector<float>& weights, const std::vector<float>& got, int in) {
  using R = Reference<T>;
  const auto levels = R::levels();
  const int group = R::group == 0 ? in : R::group;
  int wrong = 0;
  for (std::size_t row = 0; row < weights.size(); row += in) {
    for (int begin = 0; begin < in; begin += group) {
      const int end = std::min(in, begin + group);
      const std::vector<double> w(weights.begin() + row + begin, weights.begin() + row + end);
      const double scale = R::scale(w);
      for (int i = begin; i < end; ++i) {
        const double weight = weights[row + i], value = got[row + i];
        const double least = reference::distance(levels, scale, weight);
        wrong += !(std::abs(value - weight) <= least + 2e-5 * std::abs(scale));
        wrong += !(reference::distance(levels, scale, value) <= 2e-5 * std::abs(scale));
      }
    }
  }
  CHECK(wrong == 0);
}

template <class T, class LayoutT>
void check_sizes() {
  for (const int in : {1, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200}) {
    for (const int parts : {1, 2}) {
      for (const int out : {1, 16, 19}) {
        CAPTURE(in, parts, out);
        const auto tensor = make<T, LayoutT>(2, {parts, out, in});
        const auto weights = test::cast<float>(test::uniform<float>(in + parts, tensor.size(), 0.3));
        moe::assign(tensor, weights);
        const auto got = moe::to_host(tensor);
        check_nearest<T>(weights, got, in);
        // What it holds it keeps. (int4: only near, as the largest may have been rounded in the scale.)
        moe::assign(tensor, got);
        if constexpr (std::is_same_v<T, moe::mxfp4>) CHECK(moe::to_host(tensor) == got);
        check_nearest<T>(got, moe::to_host(tensor), in);
      }
    }
  }
}

constexpr float infinite = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

}  // namespace

TEMPLATE_TEST_CASE("quantised: every weight at the nearest level, in matrices of any size", "[core][quantised]",
                   moe::int8, moe::int4, moe::mxfp4) {
  check_sizes<TestType, moe::Panels>();
  check_sizes<TestType, moe::RowMajor>();
}

TEST_CASE("quantised: MXFP4 is what OCP says, all elements at all scales", "[core][quantised]") {
  // 4 matrices of 16 outputs with 4 groups each: one for each scale. Written byte by byte: in a section, a line with the
  // scales of the outputs' four groups, and lines with the codes of 8 inputs.
  constexpr int count = 4, out = 16, in = 128;
  const auto tensor = make<moe::mxfp4>(count, {1, out, in});
  REQUIRE(tensor.storage.size() == std::size_t(count * 17 * 64));
  const auto mirror = Kokkos::create_mirror_view(tensor.storage);
  for (int e = 0; e < count; ++e) {
    for (int o = 0; o < out; ++o) {
      auto* const matrix = mirror.data() + e * 17 * 64 + o * 4;
      for (int g = 0; g < 4; ++g) matrix[g].byte = std::uint8_t((e * out + o) * 4 + g);
      for (int i = 0; i < in; i += 2) {
        matrix[(1 + i / 8) * 64 + i % 8 / 2].byte = std::uint8_t(i % 16 | (i + 1) % 16 << 4);
      }
    }
  }
  Kokkos::deep_copy(tensor.storage, mirror);
  const auto got = moe::to_host(tensor);
  int wrong = 0;
  for (int n = 0; n < count * out * in; ++n) {
    const double expected = reference::Mxfp4::elements[n % 16] * reference::Mxfp4::scale_of(n / 32);
    const float value = float(expected);
    wrong += std::isnan(value) ? !std::isnan(got[n]) : std::memcmp(&value, &got[n], sizeof(value)) != 0;
  }
  CHECK(wrong == 0);
}

TEST_CASE("quantised: halfway between two levels the even one", "[core][quantised]") {
  // A scale of one: by 127, by -8 and by a largest magnitude in [4, 8).
  CHECK(coded<moe::int8>({127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 126.5f}) ==
        std::vector<float>{127, 0, 2, 2, 0, -2, -2, 126});
  CHECK(coded<moe::int4>({-8, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -7.5f, 6.5f, 7.5f}) ==
        std::vector<float>{-8, 0, 2, 2, 0, -2, -8, 6, 7});
  CHECK(coded<moe::int4>({8, -0.5f, 1.5f, -7.5f, 7}) == std::vector<float>{8, 0, 2, -7, 7});  // a scale of -1
  CHECK(coded<moe::mxfp4>({6, 0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5, 7.9f, -0.25f, -0.75f, -5}) ==
        std::vector<float>{6, 0, 1, 1, 2, 2, 4, 4, 6, 0, -1, -4});
}

TEMPLATE_TEST_CASE("quantised: zeros stay zeros, of both signs", "[core][quantised]", moe::int8, moe::int4,
                   moe::mxfp4) {
  for (const float zero : {0.0f, -0.0f}) CHECK(test::all_zero(coded<TestType>(std::vector<float>(70, zero))));
  std::vector<float> some(70, 0.0f);
  some[3] = 0.4f, some[69] = -0.0f;
  const auto got = coded<TestType>(some);
  for (int i = 0; i < 70; ++i) CHECK((got[i] == 0) == (i != 3));
}

TEST_CASE("quantised: MXFP4 keeps the sign of a zero", "[core][quantised]") {
  CHECK(std::signbit(coded<moe::mxfp4>({-0.0f})[0]));
  CHECK(std::signbit(coded<moe::mxfp4>({4, -0.1f})[1]));
  CHECK_FALSE(std::signbit(coded<moe::mxfp4>({0.0f})[0]));
}

TEMPLATE_TEST_CASE("quantised: one huge weight takes those that share its scale, and no others", "[core][quantised]",
                   moe::int8, moe::int4, moe::mxfp4) {
  std::vector<float> weights = test::cast<float>(test::uniform<float>(4, 2 * 96));
  weights[40] = 1e30f;
  const auto tensor = make<TestType>(1, {1, 2, 96});
  moe::assign(tensor, weights);
  const auto got = moe::to_host(tensor);
  check_nearest<TestType>(weights, got, 96);
  const int group = Reference<TestType>::group;
  for (int i = 0; i < 192; ++i) {
    const bool shares = group == 0 ? i < 96 : i / group == 40 / group;
    if (shares && i != 40) CHECK(got[i] == 0);
    if (!shares) CHECK(std::abs(got[i] - weights[i]) <= 0.25f);
  }
  CHECK(std::abs(got[40] / 1e30f - 1) < (std::is_same_v<TestType, moe::mxfp4> ? 0.25f : 0.004f));
}

TEMPLATE_TEST_CASE("quantised: where a weight is not finite, all that share its scale are NaN", "[core][quantised]",
                   moe::int8, moe::int4, moe::mxfp4) {
  const int group = Reference<TestType>::group;
  for (const float bad : {not_a_number, infinite, -infinite}) {
    for (const int at : {0, 40, 95}) {
      CAPTURE(bad, at);
      std::vector<float> weights(192, 0.25f);
      weights[at] = bad;
      const auto tensor = make<TestType>(1, {1, 2, 96});
      moe::assign(tensor, weights);
      const auto got = moe::to_host(tensor);
      int wrong = 0;
      for (int i = 0; i < 192; ++i) {
        const bool shares = group == 0 ? i < 96 : i / group == at / group;
        wrong += std::isnan(got[i]) != shares;
        wrong += !shares && !(std::abs(got[i] - 0.25f) < 0.002f);
      }
      CHECK(wrong == 0);
    }
  }
}

TEMPLATE_TEST_CASE("quantised: subnormal weights are no worse than zeros", "[core][quantised]", moe::int8, moe::int4,
                   moe::mxfp4) {
  for (const double bound : {1e-44, 1e-42, 1e-40, 1e-38, 1e-36}) {
    CAPTURE(bound);
    const auto weights = test::cast<float>(test::uniform<float>(9, 64, bound));
    const auto got = coded<TestType>(weights);
    int wrong = 0;
    for (int i = 0; i < 64; ++i) wrong += !(std::abs(double(got[i]) - double(weights[i])) <= bound);
    CHECK(wrong == 0);
    if (bound > 1e-39) check_nearest<TestType>(weights, got, 64);
  }
}

TEST_CASE("quantised: a tensor's storage counts bytes", "[core][quantised]") {
  CHECK(make<moe::int8>(3, {1, 16, 64}).storage.size() == 3 * 16 * (64 + 4));
  CHECK(make<moe::int4>(3, {2, 8, 64}).storage.size() == 3 * 16 * (32 + 4));
  CHECK(make<moe::mxfp4>(3, {1, 16, 128}).storage.size() == 3 * 16 * (64 + 4));
  CHECK(make<moe::mxfp4>(1, {1, 17, 129}).storage.size() == 2 * 2 * 16 * (64 + 4));
  CHECK(make<moe::mxfp4>(1, {1, 17, 129}).size() == 17 * 129);
}
