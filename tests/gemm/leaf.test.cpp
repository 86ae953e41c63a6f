#include <moe/gemm/host/leaf.hpp>

#include <moe/core/math.hpp>

#include <catch2/catch_message.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <limits>
#include <string>

namespace leaf_test {

using moe::HostIsa;
using moe::Simd;

/// (1 + e)^2 - (1 + 2 e) = e^2, which only a fused operation sees.
template <class T>
struct Products {
  static constexpr int lanes = 32 / sizeof(T);
  T in[lanes], minus[lanes], twice[lanes], once[lanes];
};

template <class T>
struct ProductKernel {
  template <class LeafT>
  static MOE_LEAF void run(Products<T>* const& p) {
    using V = Simd<T, Products<T>::lanes>;
    const V x = moe::simd::load<V>(p->in), minus = moe::simd::load<V>(p->minus);
    moe::simd::store(p->twice, x * x + minus);
    moe::simd::store(p->once, moe::math::fma(x, x, minus));
  }
};

template <class T>
struct PickProduct {
  template <class LeafT>
  auto operator()() const {
    return &LeafT::template call<ProductKernel<T>, Products<T>*>;
  }
};

}  // namespace leaf_test

TEMPLATE_TEST_CASE("Leaf: a sum of a product is rounded twice, an fma once", "[leaf]", float, double) {
  using T = TestType;
  using leaf_test::Products;
  const T e = std::numeric_limits<T>::epsilon();
  for (const moe::HostIsa isa : {moe::HostIsa::baseline, moe::HostIsa::avx2, moe::HostIsa::avx512}) {
    if (!moe::is_supported(isa)) continue;
    INFO(std::string(moe::name(isa)));
    Products<T> p{};
    for (int i = 0; i < Products<T>::lanes; ++i) p.in[i] = 1 + e, p.minus[i] = -(1 + 2 * e);
    moe::detail::with_leaf(isa, leaf_test::PickProduct<T>{})(&p);
    for (int i = 0; i < Products<T>::lanes; ++i) {
      CHECK(p.twice[i] == 0);
      CHECK(p.once[i] == e * e);
    }
  }
}
