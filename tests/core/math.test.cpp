#include <moe/core/math.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace {

using moe::Simd;
namespace simd = moe::simd;
namespace math = moe::math;

struct Exp {
  static long double exact(long double x) { return std::exp(x); }
  template <class V>
  MOE_INLINE static V of(const V& x) {
    return math::exp(x);
  }
};
struct Sigmoid {
  static long double exact(long double x) { return 1 / (1 + std::exp(-x)); }
  template <class V>
  MOE_INLINE static V of(const V& x) {
    return math::sigmoid(x);
  }
};
struct Tanh {
  static long double exact(long double x) { return std::tanh(x); }
  template <class V>
  MOE_INLINE static V of(const V& x) {
    return math::tanh(x);
  }
};
struct Erf {
  static long double exact(long double x) { return std::erf(x); }
  template <class V>
  MOE_INLINE static V of(const V& x) {
    return math::erf(x);
  }
};

/// Functions of a name each, so that every instruction set compiles its own.
template <class F, class V>
void on_any(const simd::element<V>* x, simd::element<V>* y) {
  simd::store(y, F::of(simd::load<V>(x)));
}
#if defined(__x86_64__)
template <class F, class V>
__attribute__((target("avx2,fma"))) void on_avx2(const simd::element<V>* x, simd::element<V>* y) {
  simd::store(y, F::of(simd::load<V>(x)));
}
template <class F, class V>
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))) void on_avx512(const simd::element<V>* x,
                                                                                      simd::element<V>* y) {
  simd::store(y, F::of(simd::load<V>(x)));
}
#endif

/// The distance from the exact value in units of the result's last place.
template <class T>
double ulps(T got, long double exact) {
  if (std::abs(exact) > std::numeric_limits<T>::max()) return std::isinf(got) && (got > 0) == (exact > 0) ? 0 : 1e9;
  int exponent = 0;
  std::frexp(exact, &exponent);
  const int last = std::max(exponent, std::numeric_limits<T>::min_exponent) - std::numeric_limits<T>::digits;
  return double(std::abs((long double)got - exact) / std::ldexp(1.0L, last));
}

template <class F, class T>
double worst_ulps(double from, double to, int steps) {
  constexpr int n = 32 / sizeof(T);
  double worst = 0;
  for (int step = 0; step < steps; step += n) {
    T x[n], y[n];
    for (int i = 0; i < n; ++i) x[i] = T(from + (to - from) * (step + i) / steps);
    on_any<F, Simd<T, n>>(x, y);
    for (int i = 0; i < n; ++i) worst = std::max(worst, ulps(y[i], F::exact(x[i])));
  }
  return worst;
}

/// The arguments at which an implementation is most likely to fall.
template <class T>
std::vector<T> corners() {
  using L = std::numeric_limits<T>;
  std::vector<T> x{0,   L::min(), L::denorm_min(), L::epsilon(),  1, 0.55, 0.93, 4, 10, 88, 89, 104, 709, 710, 746,
                   1e4, L::max(), L::infinity(),   L::quiet_NaN()};
  const std::size_t n = x.size();
  for (std::size_t i = 0; i < n; ++i) x.push_back(-x[i]);
  for (int i = 0; i < 200; ++i) x.push_back(T(std::sin(i * 12.9898) * 20));
  while (x.size() % 16 != 0) x.push_back(0);
  return x;
}

template <class F, class V>
std::vector<simd::element<V>> map(void (*f)(const simd::element<V>*, simd::element<V>*)) {
  const auto x = corners<simd::element<V>>();
  auto y = x;
  for (std::size_t i = 0; i < x.size(); i += simd::lanes<V>) f(&x[i], &y[i]);
  return y;
}

/// The same bits, or NaN both, whose sign is not ours.
template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) return false;
  }
  return a.size() == b.size();
}

template <class F, class T>
void check_same_at_every_width() {
  constexpr int n = 32 / sizeof(T);
  const auto expected = map<F, Simd<T, n>>(on_any<F, Simd<T, n>>);
  CHECK(same(expected, map<F, Simd<T, 1>>(on_any<F, Simd<T, 1>>)));
  CHECK(same(expected, map<F, Simd<T, n / 2>>(on_any<F, Simd<T, n / 2>>)));
  CHECK(same(expected, map<F, Simd<T, n * 2>>(on_any<F, Simd<T, n * 2>>)));
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    CHECK(same(expected, map<F, Simd<T, n / 2>>(on_avx2<F, Simd<T, n / 2>>)));
    CHECK(same(expected, map<F, Simd<T, n>>(on_avx2<F, Simd<T, n>>)));
    CHECK(same(expected, map<F, Simd<T, n * 2>>(on_avx2<F, Simd<T, n * 2>>)));
  }
  if (__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")) {
    CHECK(same(expected, map<F, Simd<T, n>>(on_avx512<F, Simd<T, n>>)));
    CHECK(same(expected, map<F, Simd<T, n * 2>>(on_avx512<F, Simd<T, n * 2>>)));
  }
#endif
}

}  // namespace

TEST_CASE("math: exp to one unit in the last place", "[math]") {
  CHECK(worst_ulps<Exp, float>(-87, 88.7, 100000) < 1.0);
  CHECK(worst_ulps<Exp, float>(-110, -86, 20000) < 1.0);  // subnormal results, then 0
  CHECK(worst_ulps<Exp, float>(-1e-3, 1e-3, 2000) < 1.0);
  CHECK(worst_ulps<Exp, double>(-708, 709.7, 100000) < 1.2);
  CHECK(worst_ulps<Exp, double>(-750, -707, 20000) < 1.2);
  CHECK(worst_ulps<Exp, double>(-1e-3, 1e-3, 2000) < 1.0);
}

TEST_CASE("math: sigmoid, tanh and erf are exact to a few units in the last place", "[math]") {
  CHECK(worst_ulps<Sigmoid, float>(-80, 80, 100000) < 3.0);
  CHECK(worst_ulps<Sigmoid, double>(-700, 700, 100000) < 3.0);
  CHECK(worst_ulps<Tanh, float>(-12, 12, 100000) < 2.0);
  CHECK(worst_ulps<Tanh, double>(-12, 12, 10000) < 3.0);
  CHECK(worst_ulps<Erf, float>(-6, 6, 100000) < 1.2);
  CHECK(worst_ulps<Erf, float>(-1e-3, 1e-3, 1000) < 1.2);
  CHECK(worst_ulps<Erf, double>(-6, 6, 10000) < 2.0);
}

TEMPLATE_TEST_CASE("math: infinities and NaN", "[math]", float, double) {
  using T = TestType;
  using V = Simd<T, 4>;
  const V inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  CHECK(math::exp(inf)[0] == std::numeric_limits<T>::infinity());
  CHECK(math::exp(-inf)[0] == 0);
  CHECK(math::exp(V(T(1e4)))[0] == std::numeric_limits<T>::infinity());
  CHECK(math::exp(V(T(-1e4)))[0] == 0);
  CHECK(std::isnan(math::exp(nan)[0]));
  CHECK(math::sigmoid(inf)[0] == 1);
  CHECK(math::sigmoid(-inf)[0] == 0);
  CHECK(std::isnan(math::sigmoid(nan)[0]));
  CHECK(math::tanh(inf)[0] == 1);
  CHECK(math::tanh(-inf)[0] == -1);
  CHECK(std::isnan(math::tanh(nan)[0]));
  CHECK(math::erf(inf)[0] == 1);
  CHECK(math::erf(-inf)[0] == -1);
  CHECK(std::isnan(math::erf(nan)[0]));
  CHECK_FALSE(math::is_finite(inf)[0]);
  CHECK_FALSE(math::is_finite(nan)[0]);
  CHECK(math::is_finite(V(std::numeric_limits<T>::max()))[0]);
  CHECK(math::sqrt(V(T(9)))[0] == 3);
}

TEMPLATE_TEST_CASE("math: the same bits at every width and on every instruction set", "[math]", float, double) {
  check_same_at_every_width<Exp, TestType>();
  check_same_at_every_width<Sigmoid, TestType>();
  check_same_at_every_width<Tanh, TestType>();
  check_same_at_every_width<Erf, TestType>();
}

TEMPLATE_TEST_CASE("math: scalars", "[math]", float, double) {
  using T = TestType;
  CHECK(math::fma(T(2), T(3), T(4)) == 10);
  CHECK(math::select(true, T(1), T(2)) == 1);
  CHECK(math::min(T(1), T(2)) == 1);
  CHECK(math::max(T(1), T(2)) == 2);
  CHECK(math::abs(T(-2)) == 2);
  CHECK(math::copysign(T(2), T(-0.0)) == -2);
  CHECK(math::sqrt(T(9)) == 3);
  CHECK(math::sigmoid(T(0)) == T(0.5));
  CHECK(math::is_finite(T(1)));
  CHECK_FALSE(math::is_finite(std::numeric_limits<T>::infinity()));
  CHECK(std::abs(math::erf(T(1)) - std::erf(T(1))) < T(1e-6));
  CHECK(std::abs(math::tanh(T(1)) - std::tanh(T(1))) < T(1e-6));
}
