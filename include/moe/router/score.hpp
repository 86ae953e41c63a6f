#pragma once

#include <Kokkos_Core.hpp>

namespace moe {

/// \file
/// Scores: what the choice is made by, token by token, out of logits z. Each has `forward(z, s, n)` and
/// `backward(z, s, d_s, d_z, n)`, which adds to d_z. All arithmetic is float or wider.

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

}  // namespace moe
