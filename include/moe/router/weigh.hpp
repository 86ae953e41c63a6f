#pragma once

#include <Kokkos_Core.hpp>

namespace moe {

/// \file
/// Gates out of the scores of the chosen experts, token by token. Each has `forward(s, ids, gates, slots)` and
/// `backward(s, ids, gates, d_gates, d_s, slots)`, which adds to d_s. The choice itself carries no gradient.

/// gate = s of the chosen expert.
struct Keep {
  template <class T>
  KOKKOS_FUNCTION void forward(const T* s, const int* ids, T* gates, int slots) const {
    for (int i = 0; i < slots; ++i) gates[i] = ids[i] < 0 ? T(0) : s[ids[i]];
  }
  template <class T>
  KOKKOS_FUNCTION void backward(const T*, const int* ids, const T*, const T* d_gates, T* d_s, int slots) const {
    for (int i = 0; i < slots; ++i) {
      if (ids[i] >= 0) d_s[ids[i]] += d_gates[i];
    }
  }
};

/// gate = s / (sum of the chosen s + epsilon). (Mixtral; Qwen3-MoE with norm_topk_prob; DeepSeek-V3 has 1e-20.)
struct Normalise {
  double epsilon = 0;  ///< keeps sigmoid scores that all underflow from dividing by zero

  template <class T>
  KOKKOS_FUNCTION void forward(const T* s, const int* ids, T* gates, int slots) const {
    const T total = sum(s, ids, slots);
    for (int i = 0; i < slots; ++i) gates[i] = ids[i] < 0 ? T(0) : s[ids[i]] / total;
  }
  /// d_s_i += (d_gate_i - sum_j d_gate_j gate_j) / total
  template <class T>
  KOKKOS_FUNCTION void backward(const T* s, const int* ids, const T* gates, const T* d_gates, T* d_s, int slots) const {
    const T total = sum(s, ids, slots);
    T mean = 0;
    for (int i = 0; i < slots; ++i) mean += d_gates[i] * gates[i];
    for (int i = 0; i < slots; ++i) {
      if (ids[i] >= 0) d_s[ids[i]] += (d_gates[i] - mean) / total;
    }
  }

 private:
  template <class T>
  KOKKOS_FUNCTION T sum(const T* s, const int* ids, int slots) const {
    T total = T(epsilon);
    for (int i = 0; i < slots; ++i) {
      if (ids[i] >= 0) total += s[ids[i]];
    }
    return total;
  }
};

}  // namespace moe
