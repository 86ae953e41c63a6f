// The two-byte numbers, against what their definitions say, bit for bit.

#include <moe/core/float16.hpp>
#include <moe/core/simd.hpp>

#include <bit>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace {

template <class T>
struct Format;
template <>
struct Format<moe::bfloat16> {
  static constexpr int fraction = 7, lowest = -126;
  static constexpr double max = 0x1.fep127;
};
template <>
struct Format<moe::half> {
  static constexpr int fraction = 10, lowest = -14;
  static constexpr double max = 65504;
};

/// What the bits mean.
template <class T>
double value_of(std::uint16_t bits) {
  using F = Format<T>;
  const int exponent = (bits & 0x7fff) >> F::fraction, fraction = bits & ((1 << F::fraction) - 1);
  const int highest = (0x7fff >> F::fraction);
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == highest) return fraction ? std::numeric_limits<double>::quiet_NaN() : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(fraction, F::lowest - F::fraction);
  return sign * std::ldexp((1 << F::fraction) + fraction, exponent - 1 + F::lowest - F::fraction);
}

/// The nearest number of the format, ties to even, as a double.
template <class T>
double nearest(double x) {
  using F = Format<T>;
  if (std::isnan(x) || std::isinf(x) || x == 0) return x;
  int exponent;
  std::frexp(x, &exponent);  // x = m 2^exponent, 0.5 <= m < 1
  const int unit = std::max(exponent - 1, F::lowest) - F::fraction;
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(x, -unit)), unit);
  return std::abs(rounded) > F::max ? std::copysign(INFINITY, x) : rounded;
}

bool same(double a, double b) { return std::isnan(a) ? std::isnan(b) : a == b && std::signbit(a) == std::signbit(b); }

}  // namespace

TEMPLATE_TEST_CASE("two-byte numbers mean what their format says, and come back", "[core][float16]", moe::bfloat16,
                   moe::half) {
  static_assert(sizeof(TestType) == 2 && std::is_trivial_v<TestType>);
  int wrong = 0;
  for (int bits = 0; bits < 65536; ++bits) {
    TestType x;
    x.bits = std::uint16_t(bits);
    const float value = x;
    wrong += !same(value, value_of<TestType>(x.bits));
    const TestType back(value);
    wrong += std::isnan(value) ? !std::isnan(float(back)) : back.bits != x.bits;
  }
  CHECK(wrong == 0);
}

TEMPLATE_TEST_CASE("two-byte numbers are rounded to the nearest, ties to even", "[core][float16]", moe::bfloat16,
                   moe::half) {
  std::mt19937 random(1);
  std::vector<float> values = {0.0f,       -0.0f,      INFINITY, -INFINITY,    NAN,         65504,
                               65519.996f, 65520,      65536,    3.4e38f,      1e-45f,      0x1p-24f,
                               0x1p-25f,   0x1.8p-25f, 0x1p-14f, 0x1.ffcp-15f, 0x1.ffep-15f};
  for (int i = 0; i < 200000; ++i) values.push_back(std::bit_cast<float>(std::uint32_t(random())));
  for (int bits = 0; bits < 0x7f00; ++bits) {  // the middle between neighbours, and a little to each side
    TestType low, high;
    low.bits = std::uint16_t(bits), high.bits = std::uint16_t(bits + 1);
    const float middle = (float(low) + float(high)) / 2;
    for (const float x : {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, INFINITY)}) {
      values.push_back(x), values.push_back(-x);
    }
  }
  int wrong = 0;
  for (const float x : values) wrong += !same(float(TestType(x)), nearest<TestType>(x));
  CHECK(wrong == 0);
}

TEMPLATE_TEST_CASE("vectors are loaded from two-byte numbers and stored to them", "[core][float16][simd]",
                   moe::bfloat16, moe::half) {
  using V = moe::Simd<float, 8>;
  TestType from[9], to[9] = {};
  for (int i = 0; i < 9; ++i) from[i] = TestType(0.37f * float(i) - 1);
  const V v = moe::simd::load<V>(from + 1);
  for (int i = 0; i < 8; ++i) CHECK(v[i] == float(from[i + 1]));
  moe::simd::store(to, v * V(3));
  for (int i = 0; i < 8; ++i) CHECK(to[i].bits == TestType(3 * float(from[i + 1])).bits);
  CHECK(to[8].bits == 0);
}

TEMPLATE_TEST_CASE("each number is the same in a vector as alone", "[core][float16][simd]", moe::bfloat16, moe::half) {
  using V = moe::Simd<float, 8>;
  int wrong_loads = 0, wrong_stores = 0;
  for (int first = 0; first < 65536; first += 8) {
    TestType from[8], to[8];
    for (int i = 0; i < 8; ++i) from[i].bits = std::uint16_t(first + i);
    const V v = moe::simd::load<V>(from);
    for (int i = 0; i < 8; ++i) {
      wrong_loads += std::bit_cast<std::uint32_t>(float(v[i])) != std::bit_cast<std::uint32_t>(float(from[i]));
    }
    // Each upper half of a float, with lower halves that round down, to even, up, and with a NaN that is only in them.
    for (const std::uint32_t low :
         {0x0000u, 0x0001u, 0x0fffu, 0x1000u, 0x1001u, 0x3000u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      float x[8];
      for (int i = 0; i < 8; ++i) x[i] = std::bit_cast<float>(std::uint32_t(first + i) << 16 | low);
      moe::simd::store(to, moe::simd::load<V>(x));
      for (int i = 0; i < 8; ++i) wrong_stores += to[i].bits != TestType(x[i]).bits;
    }
  }
  CHECK(wrong_loads == 0);
  CHECK(wrong_stores == 0);
}
