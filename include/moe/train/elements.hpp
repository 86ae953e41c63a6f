#pragma once

#include <moe/core/kernel.hpp>
#include <moe/core/macros.hpp>
#include <moe/core/simd.hpp>
#include <moe/gemm/host/leaf.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <string>

namespace moe::detail {

/// \file
/// Kernels that are written once, for V = Simd of 32 bytes in the leaf of the CPU that the program finds itself on, and
/// for V = T, one number, elsewhere:
///
///     template <class LeafT, class V>
///     MOE_INLINE void run(std::int64_t item) const                         for launch_items
///     MOE_INLINE void run(std::int64_t begin, std::int64_t end) const      for launch_elements: a block of neighbours
///
/// One vector size for all leaves, and tails that are vectors too: the bits depend neither on the leaf nor on the place.

template <class ExecT>
inline constexpr bool runs_on_host = Kokkos::SpaceAccessibility<ExecT, Kokkos::HostSpace>::accessible;

/// The first `count` elements, or as many as V has; `fill` behind them.
template <class V>
MOE_INLINE V load_first(const simd::element<V>* from, std::int64_t count, simd::element<V> fill = 0) {
  if constexpr (simd::lanes<V> == 1) {
    return *from;
  } else {
    if (count >= simd::lanes<V>) return simd::load<V>(from);
    simd::element<V> buffer[simd::lanes<V>];
    for (int i = 0; i < simd::lanes<V>; ++i) buffer[i] = i < count ? from[i] : fill;
    return simd::load<V>(buffer);
  }
}
template <class V>
MOE_INLINE void store_first(simd::element<V>* to, const V& v, std::int64_t count) {
  if (count >= simd::lanes<V>) {
    simd::store(to, v);
  } else {
    for (int i = 0; i < count; ++i) to[i] = simd::lane(v, i);
  }
}

/// Square roots, lane by lane. As long as errno is kept, no compiler makes one instruction of a loop over them.
template <class LeafT>
struct SquareRoot {
  template <class T>
  static MOE_INLINE void apply(T& x) {
    x = Kokkos::sqrt(x);
  }
  template <class T, int N>
  static MOE_LEAF void apply(Simd<T, N>& x) {
#if defined(MOE_X86)
    Native<T, 16 / sizeof(T)> part;
    for (int i = 0; i < N; i += 16 / int(sizeof(T))) {
      __builtin_memcpy(&part, reinterpret_cast<const T*>(&x.native) + i, sizeof(part));
      root(part);
      __builtin_memcpy(reinterpret_cast<T*>(&x.native) + i, &part, sizeof(part));
    }
#else
    for (int i = 0; i < N; ++i) x.native[i] = Kokkos::sqrt(x[i]);
#endif
  }
#if defined(MOE_X86)
 private:
  static MOE_LEAF void root(Native<float, 4>& x) { x = __builtin_ia32_sqrtps(x); }
  static MOE_LEAF void root(Native<double, 2>& x) { x = __builtin_ia32_sqrtpd(x); }
#endif
};
#if defined(MOE_X86)
template <>
struct SquareRoot<Avx2Leaf> {
  static inline MOE_AVX2 void apply(Simd<float, 8>& x) { x.native = __builtin_ia32_sqrtps256(x.native); }
  static inline MOE_AVX2 void apply(Simd<double, 4>& x) { x.native = __builtin_ia32_sqrtpd256(x.native); }
};
#endif

template <class FunctorT>
struct ItemArguments {
  const FunctorT* functor;
  std::int64_t item;
};
template <class T, class FunctorT>
struct ItemKernel {
  template <class LeafT>
  static MOE_LEAF void run(const ItemArguments<FunctorT>& i) {
    const FunctorT functor = *i.functor;  // a copy that no store can alias, so that its members stay in registers
    functor.template run<LeafT, Simd<T, 32 / sizeof(T)>>(i.item);
  }
};
template <class T, class FunctorT>
struct PickItemLeaf {
  template <class LeafT>
  auto operator()() const {
    return &LeafT::template call<ItemKernel<T, FunctorT>, ItemArguments<FunctorT>>;
  }
};
template <class FunctorT>
struct ItemOnLeaf {
  FunctorT functor;
  void (*leaf)(const ItemArguments<FunctorT>&);
  void operator()(std::int64_t item) const { leaf({&functor, item}); }
};
template <class T, class FunctorT>
struct ItemOnScalar {
  FunctorT functor;
  KOKKOS_FUNCTION void operator()(std::int64_t item) const { functor.template run<BaselineLeaf, T>(item); }
};

/// functor.run<LeafT, V>(item) for each item in [0, count).
template <class T, class ExecT, class FunctorT>
void launch_items(const ExecT& exec, const std::string& label, std::int64_t count, const FunctorT& functor) {
  if constexpr (runs_on_host<ExecT>) {
    // The leaf of AVX-512 would only be asked for halves of its vectors.
    const HostIsa isa = host_isa() == HostIsa::baseline ? HostIsa::baseline : HostIsa::avx2;
    launch(exec, label, count, ItemOnLeaf<FunctorT>{functor, with_leaf(isa, PickItemLeaf<T, FunctorT>{})});
  } else {
    launch(exec, label, count, ItemOnScalar<T, FunctorT>{functor});
  }
}

/// Neighbouring elements that one work item of the host takes.
inline constexpr std::int64_t element_block = 4096;

template <class FunctorT>
struct ElementBlock {
  FunctorT functor;
  std::int64_t count;

  template <class LeafT, class V>
  MOE_INLINE void run(std::int64_t item) const {
    const std::int64_t block = simd::lanes<V> == 1 ? 1 : element_block;
    functor.template run<LeafT, V>(item * block, Kokkos::min(count, (item + 1) * block));
  }
};

/// functor.run<LeafT, V>(begin, end) for blocks of [0, count) on the host, for each element elsewhere, so that
/// neighbouring threads take neighbouring elements.
template <class T, class ExecT, class FunctorT>
void launch_elements(const ExecT& exec, const std::string& label, std::int64_t count, const FunctorT& functor) {
  const std::int64_t block = runs_on_host<ExecT> ? element_block : 1;
  launch_items<T>(exec, label, (count + block - 1) / block, ElementBlock<FunctorT>{functor, count});
}

}  // namespace moe::detail
