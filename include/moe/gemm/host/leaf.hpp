#pragma once

#include <moe/core/simd.hpp>
#include <moe/gemm/host/isa.hpp>

/// \file
/// How one kernel source is compiled for several instruction sets. A kernel is a struct with
///
///     template <class IsaT> MOE_LEAF static void run(const ArgumentsT&)
///
/// which is always inlined; `IsaT::call<Kernel>(arguments)` is a function that carries the target attribute. What must
/// be one instruction comes from IsaT, as functions with the same attribute: they cannot be inlined into the kernel,
/// but are once the kernel is inlined into `call`. Vectors go by reference, as passing them depends on the target.

/// Inlined into leaves, and so compiled for their instruction set; host code only.
#define MOE_LEAF inline __attribute__((always_inline))

/// Before a loop over registers: at -O2 g++ would not unroll it, and would keep the registers in memory. Files that use it
/// begin and end with the other two, for nvcc, which hands the pragma on to g++ but warns that it does not know it.
#define MOE_UNROLL _Pragma("GCC unroll 16")
#if defined(__CUDACC__)
#define MOE_UNROLL_BEGIN _Pragma("nv_diagnostic push") _Pragma("nv_diag_suppress 1675")
#define MOE_UNROLL_END _Pragma("nv_diagnostic pop")
#else
#define MOE_UNROLL_BEGIN
#define MOE_UNROLL_END
#endif

/// No multiplication of a leaf is contracted with an addition but where it says so: otherwise its bits would depend on the
/// instruction set. Clang contracts within an expression only, and those of a Simd hold one operation each.
#if defined(__GNUC__) && !defined(__clang__)
#define MOE_AS_WRITTEN __attribute__((optimize("fp-contract=off")))
#else
#define MOE_AS_WRITTEN
#endif

#if defined(MOE_X86)
#define MOE_AVX2 __attribute__((target("avx2,fma"))) MOE_AS_WRITTEN
#define MOE_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))) MOE_AS_WRITTEN
#endif

namespace moe::detail {

/// The vector registers of an instruction set, how many and how long, and what the tiles are that fill them: `tile_rows` rows of `tile_lines` lines, or
/// `coded_rows` where weights are decoded in registers, `integer_rows` where they stay integers. `terms` are the products that one multiply-add adds.
struct BaselineLeaf {
  static constexpr int registers = 16, register_bytes = 16, vector_bytes = 16;
  static constexpr int tile_rows = 4, tile_lines = 1, coded_rows = 4, integer_rows = 2, terms = 1;

  template <class T, int N>
  struct Ops {
    using V = Native<T, N>;
    static MOE_LEAF void broadcast(V& v, const T& s) {
      for (int i = 0; i < N; ++i) v[i] = s;
    }
    static MOE_LEAF void fma(V& c, const V& a, const V& b) {
      for (int i = 0; i < N; ++i) {
        if constexpr (sizeof(T) == 4) {
          c[i] = __builtin_fmaf(a[i], b[i], c[i]);
        } else {
          c[i] = __builtin_fma(a[i], b[i], c[i]);
        }
      }
    }
    static MOE_LEAF void store_past_caches(T* to, const V& v) { __builtin_memcpy(to, &v, sizeof(v)); }

    /// N numbers of two bytes, each in a word of 32 bits.
    static MOE_LEAF void widen(Native<std::uint32_t, N>& words, const void* from) {
      std::uint16_t narrow[N];
      std::uint32_t wide[N];
      __builtin_memcpy(narrow, from, sizeof(narrow));
      for (int i = 0; i < N; ++i) wide[i] = narrow[i];
      __builtin_memcpy(&words, wide, sizeof(wide));
    }
    /// table[index % 16] in each lane.
    static MOE_LEAF void lookup(V& v, const Native<std::uint32_t, N>& index, const float (&table)[16]) {
      T values[N];
      for (int i = 0; i < N; ++i) values[i] = table[index[i] & 15];
      __builtin_memcpy(&v, values, sizeof(values));
    }
  };

  using Bytes = Native<std::int32_t, vector_bytes / 4>;
  /// What is added to weights of int8, so that they are what `dot_wide` wants.
  static constexpr int byte_bias = 0;
  /// Whether `dot_pairs` adds products of bytes two by two in 16 bits, weights without a sign, and `add_pairs` those to words.
  static constexpr bool has_pairs = false;
  /// sum += the four products of each word's bytes, w of weights and x of rows, both with a sign. The narrow one's weights
  /// have none.
  static MOE_LEAF void dot_wide(Bytes& sum, const Bytes& w, const Bytes& x) { dot<std::int8_t>(sum, w, x); }
  static MOE_LEAF void dot_narrow(Bytes& sum, const Bytes& w, const Bytes& x) { dot<std::uint8_t>(sum, w, x); }
  /// For each byte the entry of its lowest four bits.
  static MOE_LEAF void lookup_bytes(Bytes& v, const Bytes& index, const std::uint8_t (&table)[16]) {
    std::uint8_t bytes[vector_bytes];
    __builtin_memcpy(bytes, &index, sizeof(bytes));
    for (std::uint8_t& byte : bytes) byte = table[byte & 15];
    __builtin_memcpy(&v, bytes, sizeof(bytes));
  }
  template <class WeightT>
  static MOE_LEAF void dot(Bytes& sum, const Bytes& w, const Bytes& x) {
    WeightT weights[vector_bytes];
    std::int8_t rows[vector_bytes];
    std::int32_t sums[vector_bytes / 4];
    __builtin_memcpy(weights, &w, sizeof(weights));
    __builtin_memcpy(rows, &x, sizeof(rows));
    __builtin_memcpy(sums, &sum, sizeof(sums));
    for (int i = 0; i < vector_bytes; ++i) sums[i / 4] += std::int32_t(weights[i]) * rows[i];
    __builtin_memcpy(&sum, sums, sizeof(sums));
  }

  template <class KernelT, class ArgumentsT>
  static MOE_AS_WRITTEN void call([[maybe_unused]] const ArgumentsT& arguments) {
#if !defined(__CUDA_ARCH__)  // nvcc's device pass reads host code too, but knows no vectors
    KernelT::template run<BaselineLeaf>(arguments);
#endif
  }
};

#if defined(MOE_X86)

#if defined(__clang__)
#define MOE_STORE_PAST_CACHES(name, to, v) __builtin_nontemporal_store(v, reinterpret_cast<V*>(to))
#else
#define MOE_STORE_PAST_CACHES(name, to, v) __builtin_ia32_##name(to, v)
#endif

/// One instruction each for the widths that AVX2 has; wider vectors are two of half the width.
template <class T, int N>
struct Avx2Ops {
  using V = Native<T, N>;
  struct Halves {
    Native<T, N / 2> low, high;
  };
  static inline MOE_AVX2 void broadcast(V& v, const T& s) {
    Halves halves;
    Avx2Ops<T, N / 2>::broadcast(halves.low, s);
    halves.high = halves.low;
    __builtin_memcpy(&v, &halves, sizeof(v));
  }
  static inline MOE_AVX2 void fma(V& c, const V& a, const V& b) {
    Halves x, y, z;
    __builtin_memcpy(&x, &a, sizeof(a));
    __builtin_memcpy(&y, &b, sizeof(b));
    __builtin_memcpy(&z, &c, sizeof(c));
    Avx2Ops<T, N / 2>::fma(z.low, x.low, y.low);
    Avx2Ops<T, N / 2>::fma(z.high, x.high, y.high);
    __builtin_memcpy(&c, &z, sizeof(c));
  }
  static inline MOE_AVX2 void store_past_caches(T* to, const V& v) {
    Halves halves;
    __builtin_memcpy(&halves, &v, sizeof(v));
    Avx2Ops<T, N / 2>::store_past_caches(to, halves.low);
    Avx2Ops<T, N / 2>::store_past_caches(to + N / 2, halves.high);
  }
};

template <>
struct Avx2Ops<float, 4> {
  using V = Native<float, 4>;
  static inline MOE_AVX2 void broadcast(V& v, const float& s) { v = V{s, s, s, s}; }
  static inline MOE_AVX2 void fma(V& c, const V& a, const V& b) { c = __builtin_ia32_vfmaddps(a, b, c); }
  static inline MOE_AVX2 void store_past_caches(float* to, const V& v) { MOE_STORE_PAST_CACHES(movntps, to, v); }
};
template <>
struct Avx2Ops<float, 8> {
  using V = Native<float, 8>;
  static inline MOE_AVX2 void broadcast(V& v, const float& s) { v = V{s, s, s, s, s, s, s, s}; }
  static inline MOE_AVX2 void fma(V& c, const V& a, const V& b) { c = __builtin_ia32_vfmaddps256(a, b, c); }
  static inline MOE_AVX2 void store_past_caches(float* to, const V& v) { MOE_STORE_PAST_CACHES(movntps256, to, v); }
  // As text: of the compilers' own ways to one instruction here, none is common to all, and g++'s general one gives five.
  static inline MOE_AVX2 void widen(Native<std::uint32_t, 8>& words, const void* from) {
    asm("vpmovzxwd %1, %0" : "=x"(words) : "m"(*static_cast<const UnalignedNative<std::uint16_t, 8>*>(from)));
  }
  static inline MOE_AVX2 void lookup(V& v, const Native<std::uint32_t, 8>& index, const float (&table)[16]) {
    V low, high;
    asm("vpermps %2, %1, %0" : "=x"(low) : "x"(index), "x"(*reinterpret_cast<const UnalignedNative<float, 8>*>(table)));
    asm("vpermps %2, %1, %0"
        : "=x"(high)
        : "x"(index), "x"(*reinterpret_cast<const UnalignedNative<float, 8>*>(table + 8)));
    // The fourth bit of the index, as a sign, chooses.
    asm("vblendvps %3, %2, %1, %0" : "=x"(v) : "x"(low), "x"(high), "x"(index << 28));
  }
};
template <>
struct Avx2Ops<double, 2> {
  using V = Native<double, 2>;
  static inline MOE_AVX2 void broadcast(V& v, const double& s) { v = V{s, s}; }
  static inline MOE_AVX2 void fma(V& c, const V& a, const V& b) { c = __builtin_ia32_vfmaddpd(a, b, c); }
  static inline MOE_AVX2 void store_past_caches(double* to, const V& v) { MOE_STORE_PAST_CACHES(movntpd, to, v); }
};
template <>
struct Avx2Ops<double, 4> {
  using V = Native<double, 4>;
  static inline MOE_AVX2 void broadcast(V& v, const double& s) { v = V{s, s, s, s}; }
  static inline MOE_AVX2 void fma(V& c, const V& a, const V& b) { c = __builtin_ia32_vfmaddpd256(a, b, c); }
  static inline MOE_AVX2 void store_past_caches(double* to, const V& v) { MOE_STORE_PAST_CACHES(movntpd256, to, v); }
};

struct Avx2Leaf {
  static constexpr int registers = 16, register_bytes = 32, vector_bytes = 32;
  static constexpr int tile_rows = 6, tile_lines = 1;  // 12 sums, 2 weights, 1 input in 16 registers
  static constexpr int coded_rows = 4, integer_rows = 3, terms = 1;

  template <class T, int N>
  using Ops = Avx2Ops<T, N>;

  using Bytes = Native<std::int32_t, 8>;
  static constexpr int byte_bias = 0;
  static constexpr bool has_pairs = true;
  static inline MOE_AVX2 void dot_wide(Bytes& sum, const Bytes& w, const Bytes& x) {
    // |w| has no sign any more, which x takes; neither is -128, so two products fit 16 bits.
    Bytes size, signed_x, pairs;
    asm("vpabsb %1, %0" : "=x"(size) : "x"(w));
    asm("vpsignb %2, %1, %0" : "=x"(signed_x) : "x"(x), "x"(w));
    asm("vpmaddubsw %2, %1, %0" : "=x"(pairs) : "x"(size), "x"(signed_x));
    add_pairs(sum, pairs);
  }
  static inline MOE_AVX2 void dot_pairs(Bytes& sums, const Bytes& w, const Bytes& x) {
    using Pairs = Native<std::int16_t, 16>;
    Pairs pairs;
    asm("vpmaddubsw %2, %1, %0" : "=x"(pairs) : "x"(w), "x"(x));
    sums = reinterpret_cast<Bytes>(reinterpret_cast<Pairs>(sums) + pairs);
  }
  static inline MOE_AVX2 void add_pairs(Bytes& sum, const Bytes& pairs) {
    const Native<std::int16_t, 16> ones = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    Bytes words;
    asm("vpmaddwd %2, %1, %0" : "=x"(words) : "x"(pairs), "x"(ones));
    sum += words;
  }
  static inline MOE_AVX2 void lookup_bytes(Bytes& v, const Bytes& index, const std::uint8_t (&table)[16]) {
    Bytes both;  // the table in each half
    asm("vbroadcasti128 %1, %0" : "=x"(both) : "m"(table));
    asm("vpshufb %2, %1, %0" : "=x"(v) : "x"(both), "x"(index));
  }

  template <class KernelT, class ArgumentsT>
  static MOE_AVX2 void call(const ArgumentsT& arguments) {
    KernelT::template run<Avx2Leaf>(arguments);
  }
};

template <class T, int N>
struct Avx512Ops : Avx2Ops<T, N> {};

template <>
struct Avx512Ops<float, 16> {
  using V = Native<float, 16>;
  static inline MOE_AVX512 void broadcast(V& v, const float& s) {
    v = V{s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s};
  }
  static inline MOE_AVX512 void fma(V& c, const V& a, const V& b) {
    c = __builtin_ia32_vfmaddps512_mask(a, b, c, -1, 4);  // 4: round as the current mode says
  }
  static inline MOE_AVX512 void store_past_caches(float* to, const V& v) { MOE_STORE_PAST_CACHES(movntps512, to, v); }
  static inline MOE_AVX512 void widen(Native<std::uint32_t, 16>& words, const void* from) {
    asm("vpmovzxwd %1, %0" : "=v"(words) : "m"(*static_cast<const UnalignedNative<std::uint16_t, 16>*>(from)));
  }
  static inline MOE_AVX512 void lookup(V& v, const Native<std::uint32_t, 16>& index, const float (&table)[16]) {
    asm("vpermps %2, %1, %0" : "=v"(v) : "v"(index), "v"(*reinterpret_cast<const UnalignedNative<float, 16>*>(table)));
  }
};
template <>
struct Avx512Ops<double, 8> {
  using V = Native<double, 8>;
  static inline MOE_AVX512 void broadcast(V& v, const double& s) { v = V{s, s, s, s, s, s, s, s}; }
  static inline MOE_AVX512 void fma(V& c, const V& a, const V& b) {
    c = __builtin_ia32_vfmaddpd512_mask(a, b, c, 0xff, 4);
  }
  static inline MOE_AVX512 void store_past_caches(double* to, const V& v) { MOE_STORE_PAST_CACHES(movntpd512, to, v); }
};

struct Avx512Leaf {
  static constexpr int registers = 32, register_bytes = 64, vector_bytes = 64;
  static constexpr int tile_rows = 12, tile_lines = 2;  // 24 sums, 2 weights, some inputs in 32 registers
  static constexpr int coded_rows = 8, terms = 1;

  template <class T, int N>
  using Ops = Avx512Ops<T, N>;

  template <class KernelT, class ArgumentsT>
  static MOE_AVX512 void call(const ArgumentsT& arguments) {
    KernelT::template run<Avx512Leaf>(arguments);
  }
};

/// AVX-512 that adds four products of bytes at once.
struct Avx512ByteLeaf : Avx512Leaf {
  static constexpr int integer_rows = 6;
  using Bytes = Native<std::int32_t, 16>;
  static constexpr bool has_pairs = false;
  static constexpr int byte_bias = 128;  // the instruction's weights have no sign
  static inline MOE_AVX512 void dot_wide(Bytes& sum, const Bytes& w, const Bytes& x) { dot_narrow(sum, w, x); }
  static inline MOE_AVX512 void dot_narrow(Bytes& sum, const Bytes& w, const Bytes& x) {
    Bytes in_register = sum;  // g++ 12 keeps in memory what such text changes through a reference
    asm("vpdpbusd %2, %1, %0" : "+v"(in_register) : "v"(w), "v"(x));
    sum = in_register;
  }
  static inline MOE_AVX512 void lookup_bytes(Bytes& v, const Bytes& index, const std::uint8_t (&table)[16]) {
    Bytes all;
    asm("vbroadcasti32x4 %1, %0" : "=v"(all) : "m"(table));
    asm("vpshufb %2, %1, %0" : "=v"(v) : "v"(all), "v"(index));
  }

  template <class KernelT, class ArgumentsT>
  static MOE_AVX512 void call(const ArgumentsT& arguments) {
    KernelT::template run<Avx512ByteLeaf>(arguments);
  }
};

/// AVX-512 whose words are pairs of bfloat16: c + a0 b0 + a1 b1, the products in float, both added in turn with a rounding
/// each, no subnormal numbers. Written as text, because compilers that know AVX-512 need not know this one.
template <class T, int N>
struct PairOps : Avx512Ops<T, N> {};
template <>
struct PairOps<float, 16> : Avx512Ops<float, 16> {
  static inline MOE_AVX512 void fma(V& c, const V& a, const V& b) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));
  }
};

struct Avx512PairLeaf : Avx512Leaf {
  static constexpr int terms = 2;

  template <class T, int N>
  using Ops = PairOps<T, N>;

  /// Two vectors of floats, rounded to the nearest bfloat16, as pairs.
  static inline MOE_AVX512 void pairs(const Native<float, 16>& first, const Native<float, 16>& second,
                                      Native<float, 16>& result) {
    Native<std::uint16_t, 32> both;  // 16 of the first, then 16 of the second
    asm("vcvtne2ps2bf16 %2, %1, %0" : "=v"(both) : "v"(second), "v"(first));
    const auto mixed = __builtin_shufflevector(both, both, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8,
                                               24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    __builtin_memcpy(&result, &mixed, sizeof(result));
  }

  template <class KernelT, class ArgumentsT>
  static MOE_AVX512 void call(const ArgumentsT& arguments) {
    KernelT::template run<Avx512PairLeaf>(arguments);
  }
};

#endif

/// Makes what was stored past the caches visible to other threads before anything stored later.
inline void order_stores() {
#if defined(MOE_X86)
  __builtin_ia32_sfence();
#endif
}

/// Calls f.template operator()<LeafT>() with the leaf of an instruction set.
template <class F>
decltype(auto) with_leaf(HostIsa isa, F&& f) {
#if defined(MOE_X86)
  if (isa >= HostIsa::avx512) return f.template operator()<Avx512Leaf>();
  if (isa == HostIsa::avx2) return f.template operator()<Avx2Leaf>();
#endif
  return f.template operator()<BaselineLeaf>();
}

/// The same with the leaf that multiplies bytes.
template <class F>
decltype(auto) with_byte_leaf(HostIsa isa, F&& f) {
#if defined(MOE_X86)
  if (isa >= HostIsa::avx512_vnni) return f.template operator()<Avx512ByteLeaf>();
  if (isa >= HostIsa::avx2) return f.template operator()<Avx2Leaf>();
#endif
  return f.template operator()<BaselineLeaf>();
}

/// The same with the leaf that multiplies pairs of bfloat16, on machines that have it.
template <class F>
decltype(auto) with_pair_leaf(F&& f) {
#if defined(MOE_X86)
  return f.template operator()<Avx512PairLeaf>();
#else
  return f.template operator()<BaselineLeaf>();  // never asked for
#endif
}

}  // namespace moe::detail
