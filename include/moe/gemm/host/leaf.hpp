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

#if defined(MOE_X86)
#define MOE_AVX2 __attribute__((target("avx2,fma")))
#define MOE_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#endif

namespace moe::detail {

/// The registers of an instruction set, and what the tiles are that fill them: `tile_rows` rows of `tile_lines` lines.
struct BaselineLeaf {
  static constexpr int register_bytes = 16, vector_bytes = 16;
  static constexpr int tile_rows = 4, tile_lines = 1;

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
  };

  template <class KernelT, class ArgumentsT>
  static void call(const ArgumentsT& arguments) {
    KernelT::template run<BaselineLeaf>(arguments);
  }
};

#if defined(MOE_X86)

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
};

template <>
struct Avx2Ops<float, 4> {
  using V = Native<float, 4>;
  static inline MOE_AVX2 void broadcast(V& v, const float& s) { v = V{s, s, s, s}; }
  static inline MOE_AVX2 void fma(V& c, const V& a, const V& b) { c = __builtin_ia32_vfmaddps(a, b, c); }
};
template <>
struct Avx2Ops<float, 8> {
  using V = Native<float, 8>;
  static inline MOE_AVX2 void broadcast(V& v, const float& s) { v = V{s, s, s, s, s, s, s, s}; }
  static inline MOE_AVX2 void fma(V& c, const V& a, const V& b) { c = __builtin_ia32_vfmaddps256(a, b, c); }
};
template <>
struct Avx2Ops<double, 2> {
  using V = Native<double, 2>;
  static inline MOE_AVX2 void broadcast(V& v, const double& s) { v = V{s, s}; }
  static inline MOE_AVX2 void fma(V& c, const V& a, const V& b) { c = __builtin_ia32_vfmaddpd(a, b, c); }
};
template <>
struct Avx2Ops<double, 4> {
  using V = Native<double, 4>;
  static inline MOE_AVX2 void broadcast(V& v, const double& s) { v = V{s, s, s, s}; }
  static inline MOE_AVX2 void fma(V& c, const V& a, const V& b) { c = __builtin_ia32_vfmaddpd256(a, b, c); }
};

struct Avx2Leaf {
  static constexpr int register_bytes = 32, vector_bytes = 32;
  static constexpr int tile_rows = 6, tile_lines = 1;  // 12 sums, 2 weights, 1 input in 16 registers

  template <class T, int N>
  using Ops = Avx2Ops<T, N>;

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
};
template <>
struct Avx512Ops<double, 8> {
  using V = Native<double, 8>;
  static inline MOE_AVX512 void broadcast(V& v, const double& s) { v = V{s, s, s, s, s, s, s, s}; }
  static inline MOE_AVX512 void fma(V& c, const V& a, const V& b) {
    c = __builtin_ia32_vfmaddpd512_mask(a, b, c, 0xff, 4);
  }
};

struct Avx512Leaf {
  static constexpr int register_bytes = 64, vector_bytes = 64;
  static constexpr int tile_rows = 12, tile_lines = 2;  // 24 sums, 2 weights, some inputs in 32 registers

  template <class T, int N>
  using Ops = Avx512Ops<T, N>;

  template <class KernelT, class ArgumentsT>
  static MOE_AVX512 void call(const ArgumentsT& arguments) {
    KernelT::template run<Avx512Leaf>(arguments);
  }
};

#endif

/// Calls f.template operator()<LeafT>() with the leaf of an instruction set.
template <class F>
decltype(auto) with_leaf(HostIsa isa, F&& f) {
#if defined(MOE_X86)
  if (isa == HostIsa::avx512) return f.template operator()<Avx512Leaf>();
  if (isa == HostIsa::avx2) return f.template operator()<Avx2Leaf>();
#endif
  return f.template operator()<BaselineLeaf>();
}

}  // namespace moe::detail
