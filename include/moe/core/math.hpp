#pragma once

#include <moe/core/macros.hpp>
#include <moe/core/simd.hpp>

#include <Kokkos_MathematicalFunctions.hpp>

#include <cstdint>
#include <limits>
#include <type_traits>

/// \file
/// The mathematics of epilogues and activations, for scalars on every backend and for Simd on the host. What a lane
/// gets does not depend on the width of the vector nor on the instruction set: every fused multiply-add is asked for.

namespace moe::math {

template <class T>
using if_scalar = std::enable_if_t<std::is_arithmetic_v<T>, T>;

// ---- scalars ----

template <class T>
MOE_INLINE if_scalar<T> fma(T a, T b, T c) {
  return Kokkos::fma(a, b, c);
}
template <class T>
MOE_INLINE if_scalar<T> select(bool condition, T a, T b) {
  return condition ? a : b;
}
template <class T>
MOE_INLINE if_scalar<T> min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
MOE_INLINE if_scalar<T> max(T a, T b) {
  return a < b ? b : a;
}
template <class T>
MOE_INLINE if_scalar<T> abs(T x) {
  return Kokkos::abs(x);
}
template <class T>
MOE_INLINE if_scalar<T> copysign(T size, T sign) {
  return Kokkos::copysign(size, sign);
}
template <class T>
MOE_INLINE if_scalar<T> sqrt(T x) {
  return Kokkos::sqrt(x);
}
template <class T>
MOE_INLINE if_scalar<T> exp(T x) {
  return Kokkos::exp(x);
}
template <class T>
MOE_INLINE if_scalar<T> tanh(T x) {
  return Kokkos::tanh(x);
}
template <class T>
MOE_INLINE if_scalar<T> erf(T x) {
  return Kokkos::erf(x);
}
template <class T>
MOE_INLINE std::enable_if_t<std::is_arithmetic_v<T>, bool> is_finite(T x) {
  return Kokkos::isfinite(x);
}

// ---- vectors ----

/// a * b + c, rounded once. A loop over the lanes, because no compiler has a vector builtin for it on every target; g++
/// and clang make one instruction of it where the target has one, and call the C library where it has none.
template <class T, int N>
MOE_INLINE Simd<T, N> fma(const Simd<T, N>& a, const Simd<T, N>& b, const Simd<T, N>& c) {
  Simd<T, N> r;
  for (int i = 0; i < N; ++i) {
    if constexpr (sizeof(T) == 4) {
      r.native[i] = __builtin_fmaf(a.native[i], b.native[i], c.native[i]);
    } else {
      r.native[i] = __builtin_fma(a.native[i], b.native[i], c.native[i]);
    }
  }
  return r;
}

template <class T, int N>
MOE_INLINE Simd<T, N> select(const SimdMask<T, N>& mask, const Simd<T, N>& a, const Simd<T, N>& b) {
  Simd<T, N> r;
  moe::detail::blend(mask.native, a.native, b.native, r.native);
  return r;
}
template <class T, int N>
MOE_INLINE Simd<T, N> min(const Simd<T, N>& a, const Simd<T, N>& b) {
  return select(b < a, b, a);
}
template <class T, int N>
MOE_INLINE Simd<T, N> max(const Simd<T, N>& a, const Simd<T, N>& b) {
  return select(a < b, b, a);
}

namespace detail {

template <class T, int N>
using Bits = moe::detail::Native<moe::detail::IntegerOf<T>, N>;

template <class T, int N>
MOE_INLINE void to_bits(const Simd<T, N>& x, Bits<T, N>& bits) {
  __builtin_memcpy(&bits, &x.native, sizeof(bits));
}
template <class T, int N>
MOE_INLINE Simd<T, N> from_bits(const Bits<T, N>& bits) {
  Simd<T, N> x;
  __builtin_memcpy(&x.native, &bits, sizeof(bits));
  return x;
}
template <class T, int N>
MOE_INLINE void broadcast_bits(moe::detail::IntegerOf<T> value, Bits<T, N>& bits) {
  moe::detail::broadcast<moe::detail::IntegerOf<T>, N>(value, bits);
}

template <class T>
struct Float;
template <>
struct Float<float> {
  static constexpr std::int32_t sign = std::numeric_limits<std::int32_t>::min();
  static constexpr std::int32_t one = 0x3f800000;
  static constexpr int mantissa = 23;
  static constexpr float integer = 12582912.0f;  ///< 1.5 * 2^23: adding it rounds to an integer, in the low bits
  static constexpr float ln2_high = 0x1.62e400p-1f, ln2_low = 0x1.7f7d1cp-20f;
  static constexpr float max = std::numeric_limits<float>::max();
  static constexpr float exp_floor = -104.0f, exp_ceiling = 89.0f;
};
template <>
struct Float<double> {
  static constexpr std::int64_t sign = std::numeric_limits<std::int64_t>::min();
  static constexpr std::int64_t one = 0x3ff0000000000000;
  static constexpr int mantissa = 52;
  static constexpr double integer = 6755399441055744.0;  ///< 1.5 * 2^52
  static constexpr double ln2_high = 0x1.62e42fefa3800p-1, ln2_low = 0x1.ef35793c76730p-45;
  static constexpr double max = std::numeric_limits<double>::max();
  static constexpr double exp_floor = -746.0, exp_ceiling = 710.0;
};

/// 2^n for the integer n that is in the low bits of `shifted`, a number that had Float::integer added to it.
template <class T, int N>
MOE_INLINE Simd<T, N> power_of_two(const Simd<T, N>& shifted) {
  Bits<T, N> bits, one;
  to_bits<T, N>(shifted, bits);
  broadcast_bits<T, N>(Float<T>::one, one);
  return from_bits<T, N>((bits << Float<T>::mantissa) + one);
}

/// exp(r) for |r| <= ln(2) / 2, to 0.87 ulp. (Coefficients of Norbert Juffa's expf.)
template <int N>
MOE_INLINE Simd<float, N> exp_reduced(const Simd<float, N>& r) {
  using V = Simd<float, N>;
  V p = 0x1.694000p-10f;
  p = fma(p, r, V(0x1.125edcp-7f));
  p = fma(p, r, V(0x1.555b5ap-5f));
  p = fma(p, r, V(0x1.555450p-3f));
  p = fma(p, r, V(0x1.fffff6p-2f));
  p = fma(p, r, V(1.0f));
  return fma(p, r, V(1.0f));
}
/// The Taylor series, whose 14th term is below the last bit.
template <int N>
MOE_INLINE Simd<double, N> exp_reduced(const Simd<double, N>& r) {
  using V = Simd<double, N>;
  V p = 1.0 / 6227020800.0;
  p = fma(p, r, V(1.0 / 479001600.0));
  p = fma(p, r, V(1.0 / 39916800.0));
  p = fma(p, r, V(1.0 / 3628800.0));
  p = fma(p, r, V(1.0 / 362880.0));
  p = fma(p, r, V(1.0 / 40320.0));
  p = fma(p, r, V(1.0 / 5040.0));
  p = fma(p, r, V(1.0 / 720.0));
  p = fma(p, r, V(1.0 / 120.0));
  p = fma(p, r, V(1.0 / 24.0));
  p = fma(p, r, V(1.0 / 6.0));
  p = fma(p, r, V(0.5));
  p = fma(p, r, V(1.0));
  return fma(p, r, V(1.0));
}

}  // namespace detail

template <class T, int N>
MOE_INLINE Simd<T, N> abs(const Simd<T, N>& x) {
  detail::Bits<T, N> bits, rest;
  detail::to_bits<T, N>(x, bits);
  detail::broadcast_bits<T, N>(~detail::Float<T>::sign, rest);
  return detail::from_bits<T, N>(bits & rest);
}
template <class T, int N>
MOE_INLINE Simd<T, N> copysign(const Simd<T, N>& size, const Simd<T, N>& sign) {
  detail::Bits<T, N> size_bits, sign_bits, sign_bit, rest;
  detail::to_bits<T, N>(size, size_bits);
  detail::to_bits<T, N>(sign, sign_bits);
  detail::broadcast_bits<T, N>(detail::Float<T>::sign, sign_bit);
  detail::broadcast_bits<T, N>(~detail::Float<T>::sign, rest);
  return detail::from_bits<T, N>((size_bits & rest) | (sign_bits & sign_bit));
}
template <class T, int N>
MOE_INLINE SimdMask<T, N> is_finite(const Simd<T, N>& x) {
  return abs(x) <= Simd<T, N>(detail::Float<T>::max);
}
template <class T, int N>
MOE_INLINE Simd<T, N> sqrt(const Simd<T, N>& x) {
  Simd<T, N> y;
  for (int i = 0; i < N; ++i) {
    if constexpr (sizeof(T) == 4) {
      y.native[i] = __builtin_sqrtf(x.native[i]);
    } else {
      y.native[i] = __builtin_sqrt(x.native[i]);
    }
  }
  return y;
}

/// e^x to one unit in the last place, subnormal results included; above the range infinity, NaN stays NaN.
template <class T, int N>
MOE_INLINE Simd<T, N> exp(const Simd<T, N>& argument) {
  using V = Simd<T, N>;
  using F = detail::Float<T>;
  // In this order NaN passes both: each comparison is false.
  V x = select(argument < V(F::exp_floor), V(F::exp_floor), argument);
  x = select(V(F::exp_ceiling) < x, V(F::exp_ceiling), x);
  const V n = fma(x, V(T(1.44269504088896340736)), V(F::integer)) - V(F::integer);
  V r = fma(n, V(-F::ln2_high), x);
  r = fma(n, V(-F::ln2_low), r);
  // 2^n in two halves: the first product is exact, so that a subnormal result is rounded once.
  const V half = fma(n, V(T(0.5)), V(F::integer));
  const V rest = n - (half - V(F::integer)) + V(F::integer);
  return detail::exp_reduced(r) * detail::power_of_two(half) * detail::power_of_two(rest);
}

namespace detail {

/// tanh for |x| < 0.55. (Norbert Juffa's tanhf.)
template <int N>
MOE_INLINE Simd<float, N> tanh_near_zero(const Simd<float, N>& x) {
  using V = Simd<float, N>;
  const V s = x * x;
  V p = 1.57394409e-2f;
  p = fma(p, s, V(-5.23025580e-2f));
  p = fma(p, s, V(1.33152470e-1f));
  p = fma(p, s, V(-3.33327681e-1f));
  return fma(p * s, x, x);
}
/// erf for |x| < 0.93. (Norbert Juffa's erff.)
template <int N>
MOE_INLINE Simd<float, N> erf_near_zero(const Simd<float, N>& x) {
  using V = Simd<float, N>;
  const V s = x * x;
  V p = -5.96761703e-4f;
  p = fma(p, s, V(4.99119423e-3f));
  p = fma(p, s, V(-2.67681349e-2f));
  p = fma(p, s, V(1.12819925e-1f));
  p = fma(p, s, V(-3.76125336e-1f));
  p = fma(p, s, V(1.28379166e-1f));
  return fma(p, x, x);
}
/// 1 - erf(t) = exp(polynomial of t) for t >= 0.92. (Norbert Juffa's erff.)
template <int N>
MOE_INLINE Simd<float, N> erf_complement(const Simd<float, N>& t) {
  using V = Simd<float, N>;
  V p = fma(V(-1.72853470e-5f), t, V(3.83197126e-4f));
  p = fma(p, t * t, fma(V(-3.88396438e-3f), t, V(2.42546219e-2f)));
  p = fma(p, t, V(-1.06777877e-1f));
  p = fma(p, t, V(-6.34846687e-1f));
  p = fma(p, t, V(-1.28717512e-1f));
  return exp(fma(p, t, -t));
}

}  // namespace detail

/// To 2 ulp.
template <int N>
MOE_INLINE Simd<float, N> tanh(const Simd<float, N>& x) {
  using V = Simd<float, N>;
  const V size = abs(x);
  const V far = V(1.0f) - V(2.0f) / (exp(size + size) + V(1.0f));
  return select(size < V(0.55f), detail::tanh_near_zero(x), copysign(far, x));
}
/// To 1.1 ulp.
template <int N>
MOE_INLINE Simd<float, N> erf(const Simd<float, N>& x) {
  using V = Simd<float, N>;
  const V size = abs(x);
  const V far = copysign(V(1.0f) - detail::erf_complement(size), x);
  return select(size < V(0.927734375f), detail::erf_near_zero(x), far);
}
/// In double the C library's, lane by lane.
template <int N>
MOE_INLINE Simd<double, N> tanh(const Simd<double, N>& x) {
  Simd<double, N> y;
  for (int i = 0; i < N; ++i) y.native[i] = Kokkos::tanh(x[i]);
  return y;
}
template <int N>
MOE_INLINE Simd<double, N> erf(const Simd<double, N>& x) {
  Simd<double, N> y;
  for (int i = 0; i < N; ++i) y.native[i] = Kokkos::erf(x[i]);
  return y;
}

// ---- both ----

/// 1 / (1 + e^-x)
template <class V>
MOE_INLINE V sigmoid(const V& x) {
  return V(1) / (V(1) + exp(-x));
}

}  // namespace moe::math
