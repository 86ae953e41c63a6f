#include <moe/core/simd.hpp>

#include <moe/core/math.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <limits>
#include <type_traits>
#include <vector>

namespace {

using moe::Simd;
namespace simd = moe::simd;
namespace math = moe::math;

template <class V>
V counting(simd::element<V> first) {
  simd::element<V> values[simd::lanes<V>];
  for (int i = 0; i < simd::lanes<V>; ++i) values[i] = first + simd::element<V>(i);
  return simd::load<V>(values);
}

/// What a user may write who has never heard of MOE_INLINE.
template <class V>
[[gnu::noinline]] V not_inlined(V a, V b) {
  return math::fma(a, b, a * b);
}

#if defined(__x86_64__)
template <class V>
__attribute__((target("avx2,fma"))) V in_avx2(const V& a, const V& b) {
  return not_inlined(a, b) + math::fma(a, b, a * b);
}
#endif

}  // namespace

TEMPLATE_TEST_CASE("Simd: each lane is what the scalar gives", "[simd]", (Simd<float, 1>), (Simd<float, 4>),
                   (Simd<float, 8>), (Simd<float, 16>), (Simd<double, 2>), (Simd<double, 4>), (Simd<double, 8>)) {
  using V = TestType;
  using T = simd::element<V>;
  const V a = counting<V>(T(-2)), b = counting<V>(T(0.5));
  V c = a;
  c += b;
  c *= V(T(3));
  c -= a;
  c /= b;
  for (int i = 0; i < simd::lanes<V>; ++i) {
    const T x = T(-2) + T(i), y = T(0.5) + T(i);
    CHECK(simd::lane(a, i) == x);
    CHECK((a + b)[i] == x + y);
    CHECK((a - b)[i] == x - y);
    CHECK((a * b)[i] == x * y);
    CHECK((a / b)[i] == x / y);
    CHECK((-a)[i] == -x);
    CHECK((a * T(2) + T(1))[i] == x * 2 + 1);
    CHECK(c[i] == ((x + y) * 3 - x) / y);
    CHECK((a < V(T(0)))[i] == (x < 0));
    CHECK((a <= V(T(0)))[i] == (x <= 0));
    CHECK((a > V(T(0)))[i] == (x > 0));
    CHECK((a >= V(T(0)))[i] == (x >= 0));
    CHECK((a == V(T(0)))[i] == (x == 0));
    CHECK(((a < V(T(3))) & (a > V(T(0))))[i] == (x < 3 && x > 0));
    CHECK(((a > V(T(3))) | (a < V(T(0))))[i] == (x > 3 || x < 0));
    CHECK(math::select(a < V(T(0)), a, b)[i] == (x < 0 ? x : y));
    CHECK(math::min(a, V(T(1)))[i] == (x < 1 ? x : 1));
    CHECK(math::max(a, V(T(1)))[i] == (x > 1 ? x : 1));
    CHECK(math::abs(a)[i] == (x < 0 ? -x : x));
    CHECK(math::copysign(b, a)[i] == (x < 0 ? -y : y));
  }
}

TEMPLATE_TEST_CASE("Simd: load and store need no alignment and touch nothing else", "[simd]", (Simd<float, 8>),
                   (Simd<double, 4>), float, double) {
  using V = TestType;
  using T = simd::element<V>;
  constexpr int n = simd::lanes<V>;
  for (int shift = 0; shift < 3; ++shift) {
    std::vector<T> from(n + shift), to(n + shift + 1, T(7));
    for (int i = 0; i < n; ++i) from[shift + i] = T(i + 1);
    simd::store(to.data() + shift, simd::load<V>(from.data() + shift));
    for (int i = 0; i < n; ++i) CHECK(to[shift + i] == T(i + 1));
    for (int i = 0; i < shift; ++i) CHECK(to[i] == T(7));
    CHECK(to[n + shift] == T(7));
  }
}

TEST_CASE("Simd: may pass through functions that are not inlined, of any instruction set", "[simd]") {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) SKIP("no AVX2");
  const auto a = counting<Simd<float, 8>>(1), b = counting<Simd<float, 8>>(3);
  const auto c = in_avx2(a, b);
  for (int i = 0; i < 8; ++i) CHECK(c[i] == 4 * float(i + 1) * float(i + 3));
  const auto d = counting<Simd<double, 4>>(1), e = counting<Simd<double, 4>>(3);
  const auto f = in_avx2(d, e);
  for (int i = 0; i < 4; ++i) CHECK(f[i] == 4 * double(i + 1) * double(i + 3));
#endif
}

TEST_CASE("Simd: not a number compares false, and min and max keep their first argument", "[simd]") {
  using V = Simd<double, 4>;
  const V nan = std::numeric_limits<double>::quiet_NaN(), one = 1.0;
  for (int i = 0; i < 4; ++i) {
    CHECK_FALSE((nan < one)[i]);
    CHECK_FALSE((nan == nan)[i]);
    CHECK_FALSE((nan >= one)[i]);
    CHECK(math::min(one, nan)[i] == 1);
    CHECK(math::max(one, nan)[i] == 1);
    CHECK(math::max(nan, one)[i] != math::max(nan, one)[i]);
  }
}
