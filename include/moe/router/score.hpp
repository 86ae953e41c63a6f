#pragma once

#include <Kokkos_Core.hpp>

namespace moe {

/// \file
/// Scores: what the choice is made by, token by token, out of logits z. Each has `forward(z, s, n)` and
/// `backward(z, s, d_s, d_z, n)`, which adds to d_z. All arithmetic is float or wider.

namespace detail {

/// log(1 + exp(z)), without overflow, and to the last bit where exp(z) is small.
template <class T>
KOKKOS_FUNCTION T softplus(T z) {
  const T tail = Kokkos::log1p(Kokkos::exp(-Kokkos::fabs(z)));
  return z > 0 ? z + tail : tail;
}

}  // namespace detail

/// p = softmax(z), the maximum subtracted first. (Mixtral, Qwen3-MoE, OLMoE, Switch.)
struct Softmax {
  static constexpr bool sums_to_one = true;

  template <class T>
  KOKKOS_FUNCTION void forward(const T* z, T* s, int n) const {
    T largest = z[0];
    for (int i = 1; i < n; ++i) largest = Kokkos::fmax(largest, z[i]);
    T sum = 0;
    for (int i = 0; i < n; ++i) sum += s[i] = Kokkos::exp(z[i] - largest);
    const T scale = 1 / sum;
    for (int i = 0; i < n; ++i) s[i] *= scale;
  }
  /// d_z_i += s_i (d_s_i - sum_j d_s_j s_j)
  template <class T>
  KOKKOS_FUNCTION void backward(const T*, const T* s, const T* d_s, T* d_z, int n) const {
    T mean = 0;
    for (int i = 0; i < n; ++i) mean += d_s[i] * s[i];
    for (int i = 0; i < n; ++i) d_z[i] += s[i] * (d_s[i] - mean);
  }
};

/// s = 1 / (1 + exp(-z)), each expert for itself. (DeepSeek-V3, GLM-4.5, MiniMax-M2.)
struct Sigmoid {
  static constexpr bool sums_to_one = false;

  template <class T>
  KOKKOS_FUNCTION void forward(const T* z, T* s, int n) const {
    for (int i = 0; i < n; ++i) s[i] = 1 / (1 + Kokkos::exp(-z[i]));
  }
  /// d_z_i += d_s_i s_i (1 - s_i)
  template <class T>
  KOKKOS_FUNCTION void backward(const T*, const T* s, const T* d_s, T* d_z, int n) const {
    for (int i = 0; i < n; ++i) d_z[i] += d_s[i] * s[i] * (1 - s[i]);
  }
};

/// s = z: the logits are the scores. With SoftmaxSelected it is a softmax after the choice. (GPT-OSS; Megatron-LM without
/// moe_router_pre_softmax.)
struct IdentityScore {
  static constexpr bool sums_to_one = false;
  static constexpr bool are_logits = true;  ///< balancers and statistics take the softmax of all of them

  template <class T>
  KOKKOS_FUNCTION void forward(const T* z, T* s, int n) const {
    for (int i = 0; i < n; ++i) s[i] = z[i];
  }
  template <class T>
  KOKKOS_FUNCTION void backward(const T*, const T*, const T* d_s, T* d_z, int n) const {
    for (int i = 0; i < n; ++i) d_z[i] += d_s[i];
  }
};

/// s = max(z, 0), each expert for itself. With Threshold<K> every expert of a positive logit is chosen. (ReMoE, Wang et
/// al. 2024.) The derivative at 0 is 0.
struct ReluScore {
  static constexpr bool sums_to_one = false;

  template <class T>
  KOKKOS_FUNCTION void forward(const T* z, T* s, int n) const {
    for (int i = 0; i < n; ++i) s[i] = z[i] <= 0 ? T(0) : z[i];  // a NaN stays one
  }
  template <class T>
  KOKKOS_FUNCTION void backward(const T* z, const T*, const T* d_s, T* d_z, int n) const {
    for (int i = 0; i < n; ++i) d_z[i] += z[i] <= 0 ? T(0) : d_s[i];
  }
};

/// s = sqrt(log(1 + exp(z))), each expert for itself. (Megatron-LM's score function `sqrtsoftplus`.)
struct SqrtSoftplus {
  static constexpr bool sums_to_one = false;

  template <class T>
  KOKKOS_FUNCTION void forward(const T* z, T* s, int n) const {
    for (int i = 0; i < n; ++i) s[i] = Kokkos::sqrt(detail::softplus(z[i]));
  }
  /// d_z_i += d_s_i sigmoid(z_i) / (2 s_i), where sigmoid(z) = 1 - exp(-s^2): finite wherever s is, and 0 with it.
  template <class T>
  KOKKOS_FUNCTION void backward(const T*, const T* s, const T* d_s, T* d_z, int n) const {
    for (int i = 0; i < n; ++i) {
      d_z[i] += s[i] == 0 ? T(0) : d_s[i] * -Kokkos::expm1(-s[i] * s[i]) / (2 * s[i]);
    }
  }
};

}  // namespace moe
