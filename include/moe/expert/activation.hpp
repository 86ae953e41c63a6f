#pragma once

#include <moe/core/macros.hpp>
#include <moe/core/math.hpp>

namespace moe {

/// \file
/// Activations, element by element. Each has `value(x)` and `derivative(x)`, written once for a scalar and for a vector
/// of them; MOE_INLINE, because they run inside the epilogue of a product. At a kink the derivative is that of the left
/// side.

/// max(x, 0)
struct Relu {
  template <class V>
  MOE_INLINE static V value(V x) {
    return math::select(x > V(0), x, V(0));
  }
  template <class V>
  MOE_INLINE static V derivative(V x) {
    return math::select(x > V(0), V(1), V(0));
  }
};

/// x sigmoid(x)
struct Silu {
  template <class V>
  MOE_INLINE static V value(V x) {
    return x * math::sigmoid(x);
  }
  template <class V>
  MOE_INLINE static V derivative(V x) {
    const V s = math::sigmoid(x);
    return s * math::fma(x, V(1) - s, V(1));
  }
};

/// x Phi(x), Phi the normal distribution: 0.5 x (1 + erf(x / sqrt(2))). (PyTorch's gelu without approximation.)
struct Gelu {
  template <class V>
  MOE_INLINE static V value(V x) {
    return x * normal_cdf(x);
  }
  template <class V>
  MOE_INLINE static V derivative(V x) {
    const V density = math::exp(x * x * V(-0.5)) * V(0.398942280401432678);
    return math::fma(x, density, normal_cdf(x));
  }

 private:
  template <class V>
  MOE_INLINE static V normal_cdf(V x) {
    return math::fma(math::erf(x * V(0.707106781186547524)), V(0.5), V(0.5));
  }
};

/// One matrix into the expert: h = activation(z).
template <class ActivationT>
struct Plain {
  static constexpr int parts = 1;
  static constexpr const char* tensor_name = "up";

  template <class V>
  MOE_INLINE static V value(const V* z) {
    return ActivationT::value(z[0]);
  }
  /// d_z out of d_h.
  template <class V>
  MOE_INLINE static void backward(const V* z, V d_h, V* d_z) {
    d_z[0] = d_h * ActivationT::derivative(z[0]);
  }
};

/// Two matrices, gate and up: h = activation(gate) * up.
template <class ActivationT>
struct Gated {
  static constexpr int parts = 2;
  static constexpr const char* tensor_name = "gate_up";

  template <class V>
  MOE_INLINE static V value(const V* z) {
    return ActivationT::value(z[0]) * z[1];
  }
  template <class V>
  MOE_INLINE static void backward(const V* z, V d_h, V* d_z) {
    d_z[0] = d_h * z[1] * ActivationT::derivative(z[0]);
    d_z[1] = d_h * ActivationT::value(z[0]);
  }
};

}  // namespace moe
