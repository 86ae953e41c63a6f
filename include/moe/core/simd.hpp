#pragma once

#include <moe/core/float16.hpp>
#include <moe/core/macros.hpp>

#include <cstdint>
#include <type_traits>

/// \file
/// Vectors of numbers for code that is written once, for a scalar and for a vector: epilogues and activations. A Simd
/// is compiled for whatever instruction set the function has that it is inlined into, so everything here is MOE_INLINE
/// and carries no target of its own. Passing a Simd through a function that is not inlined is slow but right: it has a
/// copy constructor, and so travels through memory on every instruction set.

namespace moe {
namespace detail {

template <class T>
using IntegerOf = std::conditional_t<sizeof(T) == 8, std::int64_t, std::int32_t>;

#if defined(__CUDA_ARCH__)
/// Device code knows no vector extensions. It never runs a Simd, but nvcc reads host code in its device pass too.
template <class T, int N>
struct LaneArray {
  T lane[N];
  KOKKOS_FUNCTION T& operator[](int i) { return lane[i]; }
  KOKKOS_FUNCTION T operator[](int i) const { return lane[i]; }
  using Mask = LaneArray<IntegerOf<T>, N>;
  KOKKOS_FUNCTION LaneArray operator-() const;
  KOKKOS_FUNCTION LaneArray operator+(const LaneArray&) const;
  KOKKOS_FUNCTION LaneArray operator-(const LaneArray&) const;
  KOKKOS_FUNCTION LaneArray operator*(const LaneArray&) const;
  KOKKOS_FUNCTION LaneArray operator/(const LaneArray&) const;
  KOKKOS_FUNCTION LaneArray operator&(const LaneArray&) const;
  KOKKOS_FUNCTION LaneArray operator|(const LaneArray&) const;
  KOKKOS_FUNCTION LaneArray operator<<(int) const;
  KOKKOS_FUNCTION Mask operator<(const LaneArray&) const;
  KOKKOS_FUNCTION Mask operator<=(const LaneArray&) const;
  KOKKOS_FUNCTION Mask operator==(const LaneArray&) const;
};
template <class M, class V>
KOKKOS_FUNCTION void blend(const M&, const V&, const V&, V&);

template <class T, int N>
struct NativeVector {
  using type = LaneArray<T, N>;
  using unaligned = type;
};
#else
template <class M, class V>
MOE_INLINE void blend(const M& mask, const V& a, const V& b, V& result) {
  result = mask ? a : b;
}

template <class T, int N>
struct NativeVector {
  typedef T type __attribute__((vector_size(N * sizeof(T))));
  typedef T unaligned __attribute__((vector_size(N * sizeof(T)), aligned(sizeof(T))));
};
#endif

/// The compiler's vector of N elements.
template <class T, int N>
using Native = typename NativeVector<T, N>::type;
/// The same in memory, where it needs no alignment of its own.
template <class T, int N>
using UnalignedNative = typename NativeVector<T, N>::unaligned;

/// A loop, because g++ makes one instruction of it, but a shuffle of each lane of an initialiser list.
template <class T, int N>
MOE_INLINE void broadcast(T s, Native<T, N>& v) {
  for (int i = 0; i < N; ++i) v[i] = s;
}

#if !defined(__CUDA_ARCH__)
// The conversions of core/float16.hpp, lane by lane: compilers make branches of their own. Words are 32 bits with two bytes in
// the lower half.

template <class WordsT, class V>
MOE_INLINE void widen_words(bfloat16, const WordsT& words, V& v) {
  v = reinterpret_cast<V>(words << 16);
}
template <class WordsT, class V>
MOE_INLINE void widen_words(half, const WordsT& words, V& v) {
  const WordsT shifted = (words & 0x7fffu) << 13;
  const WordsT rebased = reinterpret_cast<WordsT>(reinterpret_cast<V>(shifted) * 0x1p112f);
  const WordsT infinite = reinterpret_cast<WordsT>(shifted >= 0x0f800000u) & 0x7f800000u;
  v = reinterpret_cast<V>(rebased | infinite | (words & 0x8000u) << 16);
}

/// `size` is the number without its sign: no unsigned comparison, which few instruction sets have.
template <class WordsT, class IntegersT>
MOE_INLINE void narrow_words(bfloat16, const WordsT& x, const IntegersT& size, WordsT& words) {
  const WordsT rounded = x + 0x7fffu + (x >> 16 & 1u);
  words = (size > 0x7f800000 ? x | 0x400000u : rounded) >> 16;
}
template <class WordsT, class IntegersT>
MOE_INLINE void narrow_words(half, const WordsT& x, const IntegersT& size, WordsT& words) {
  using V = Native<float, sizeof(WordsT) / sizeof(float)>;
  const WordsT normal = reinterpret_cast<WordsT>(size) - 0x38000000u + 0xfffu + (x >> 13 & 1u);
  const WordsT subnormal = reinterpret_cast<WordsT>(reinterpret_cast<V>(size) + 0.5f) - 0x3f000000u;
  const WordsT nan = 0x7e00u | (x >> 13 & 0x3ffu);
  const WordsT infinite = (x & 0u) | 0x7c00u;
  words = size < 0x38800000 ? subnormal : normal >> 13;
  words = size < 0x47800000 ? words : infinite;
  words = size > 0x7f800000 ? nan : words;
  words |= x >> 16 & 0x8000u;
}

template <class T, int N>
MOE_INLINE void load_narrow(const T* from, Native<float, N>& v) {
  Native<std::uint16_t, N> narrow;
  __builtin_memcpy(&narrow, from, sizeof(narrow));
  widen_words(T{}, __builtin_convertvector(narrow, Native<std::uint32_t, N>), v);
}
template <class T, int N>
MOE_INLINE void store_narrow(T* to, const Native<float, N>& v) {
  using Words = Native<std::uint32_t, N>;
  const Words x = reinterpret_cast<Words>(v);
  Words words;
  narrow_words(T{}, x, reinterpret_cast<Native<std::int32_t, N>>(x & 0x7fffffffu), words);
  const auto narrow = __builtin_convertvector(words, Native<std::uint16_t, N>);
  __builtin_memcpy(to, &narrow, sizeof(narrow));
}
#endif

}  // namespace detail

/// For each lane a yes or a no: what comparing two Simd gives.
template <class T, int N>
struct SimdMask {
  using NativeT = detail::Native<detail::IntegerOf<T>, N>;
  NativeT native;

  MOE_INLINE explicit SimdMask(const NativeT& v) : native(v) {}
  MOE_INLINE SimdMask(const SimdMask& other) : native(other.native) {}
  MOE_INLINE SimdMask& operator=(const SimdMask& other) {
    native = other.native;
    return *this;
  }
  MOE_INLINE bool operator[](int i) const { return native[i] != 0; }
  MOE_INLINE friend SimdMask operator&(const SimdMask& a, const SimdMask& b) { return SimdMask(a.native & b.native); }
  MOE_INLINE friend SimdMask operator|(const SimdMask& a, const SimdMask& b) { return SimdMask(a.native | b.native); }
};

/// N numbers of type T that are added, multiplied and compared together. Each lane's result is what the scalar
/// operation gives. Inside the host engine's leaves a product is always rounded before it is added, whatever the
/// compiler's flags: write `math::fma` where it shall not be.
template <class T, int N>
struct Simd {
  using NativeT = detail::Native<T, N>;
  using Mask = SimdMask<T, N>;
  NativeT native;

  Simd() = default;
  MOE_INLINE Simd(T s) { detail::broadcast<T, N>(s, native); }
  MOE_INLINE explicit Simd(const NativeT& v) : native(v) {}
  MOE_INLINE Simd(const Simd& other) : native(other.native) {}
  MOE_INLINE Simd& operator=(const Simd& other) {
    native = other.native;
    return *this;
  }

  MOE_INLINE T operator[](int i) const { return native[i]; }

  MOE_INLINE friend Simd operator-(const Simd& a) { return Simd(-a.native); }
  MOE_INLINE friend Simd operator+(const Simd& a, const Simd& b) { return Simd(a.native + b.native); }
  MOE_INLINE friend Simd operator-(const Simd& a, const Simd& b) { return Simd(a.native - b.native); }
  MOE_INLINE friend Simd operator*(const Simd& a, const Simd& b) { return Simd(a.native * b.native); }
  MOE_INLINE friend Simd operator/(const Simd& a, const Simd& b) { return Simd(a.native / b.native); }
  MOE_INLINE Simd& operator+=(const Simd& b) { return *this = *this + b; }
  MOE_INLINE Simd& operator-=(const Simd& b) { return *this = *this - b; }
  MOE_INLINE Simd& operator*=(const Simd& b) { return *this = *this * b; }
  MOE_INLINE Simd& operator/=(const Simd& b) { return *this = *this / b; }

  MOE_INLINE friend Mask operator<(const Simd& a, const Simd& b) { return Mask(a.native < b.native); }
  MOE_INLINE friend Mask operator<=(const Simd& a, const Simd& b) { return Mask(a.native <= b.native); }
  MOE_INLINE friend Mask operator==(const Simd& a, const Simd& b) { return Mask(a.native == b.native); }
  MOE_INLINE friend Mask operator>(const Simd& a, const Simd& b) { return b < a; }
  MOE_INLINE friend Mask operator>=(const Simd& a, const Simd& b) { return b <= a; }
};

/// Access to vectors that reads the same for a scalar, which is a vector of one lane.
namespace simd {

template <class V>
struct Traits {
  using element = V;
  static constexpr int lanes = 1;
};
template <class T, int N>
struct Traits<Simd<T, N>> {
  using element = T;
  static constexpr int lanes = N;
};

template <class V>
using element = typename Traits<V>::element;
template <class V>
inline constexpr int lanes = Traits<V>::lanes;

/// lanes<V> elements from an address that needs no alignment.
template <class V>
MOE_INLINE V load(const element<V>* from) {
  if constexpr (lanes<V> == 1) {
    return *from;
  } else {
    V v;
    __builtin_memcpy(&v.native, from, sizeof(v.native));
    return v;
  }
}

/// The same from a type that converts to the elements: two-byte storage.
template <class V, class T, std::enable_if_t<!std::is_same_v<T, element<V>>, int> = 0>
MOE_INLINE V load(const T* from) {
  if constexpr (lanes<V> == 1) {
    return V(*from);
  } else {
    V v;
#if !defined(__CUDA_ARCH__)
    if constexpr (is_float16_v<T> && std::is_same_v<element<V>, float>) {
      detail::load_narrow<T, lanes<V>>(from, v.native);
      return v;
    }
#endif
    for (int i = 0; i < lanes<V>; ++i) v.native[i] = element<V>(from[i]);
    return v;
  }
}

template <class T, std::enable_if_t<std::is_arithmetic_v<T>, int> = 0>
MOE_INLINE void store(T* to, T v) {
  *to = v;
}
template <class T, int N>
MOE_INLINE void store(T* to, const Simd<T, N>& v) {
  __builtin_memcpy(to, &v.native, sizeof(v.native));
}

template <class T, class U, std::enable_if_t<std::is_arithmetic_v<U> && !std::is_same_v<T, U>, int> = 0>
MOE_INLINE void store(T* to, U v) {
  *to = T(v);
}
template <class T, class U, int N, std::enable_if_t<!std::is_same_v<T, U>, int> = 0>
MOE_INLINE void store(T* to, const Simd<U, N>& v) {
#if !defined(__CUDA_ARCH__)
  if constexpr (is_float16_v<T> && std::is_same_v<U, float>) return detail::store_narrow<T, N>(to, v.native);
#endif
  for (int i = 0; i < N; ++i) to[i] = T(v[i]);
}

template <class T, std::enable_if_t<std::is_arithmetic_v<T>, int> = 0>
MOE_INLINE T lane(T v, int) {
  return v;
}
template <class T, int N>
MOE_INLINE T lane(const Simd<T, N>& v, int i) {
  return v[i];
}

}  // namespace simd
}  // namespace moe
