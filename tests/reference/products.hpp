#pragma once

#include <cmath>
#include <vector>

namespace reference {

/// The grouped products, each result one chain of fused multiply-adds in the order that gemm/engine.hpp gives: so the
/// bits are determined, and this is written in the type under test. Row r belongs to expert[r]; every row has its scale.
template <class T>
struct Products {
  int experts, parts, out, in;
  std::vector<int> expert;  ///< [rows]
  std::vector<T> scale;     ///< [rows]

  int rows() const { return int(expert.size()); }
  const T& at(const std::vector<T>& w, int e, int p, int f, int d) const {
    return w[((long(e) * parts + p) * out + f) * in + d];
  }

  /// [rows, parts, out] = scale x W^T
  std::vector<T> forward(const std::vector<T>& x, const std::vector<T>& w) const {
    std::vector<T> y;
    for (int r = 0; r < rows(); ++r) {
      for (int p = 0; p < parts; ++p) {
        for (int f = 0; f < out; ++f) {
          T sum = 0;
          for (int d = 0; d < in; ++d) sum = std::fma(T(scale[r] * x[r * in + d]), at(w, expert[r], p, f, d), sum);
          y.push_back(sum);
        }
      }
    }
    return y;
  }

  /// [rows, in] = scale dy W
  std::vector<T> backward_rows(const std::vector<T>& dy, const std::vector<T>& w) const {
    std::vector<T> dx;
    for (int r = 0; r < rows(); ++r) {
      for (int d = 0; d < in; ++d) {
        T sum = 0;
        for (int f = 0; f < out; ++f) {
          for (int p = 0; p < parts; ++p) {
            sum = std::fma(T(scale[r] * dy[(r * parts + p) * out + f]), at(w, expert[r], p, f, d), sum);
          }
        }
        dx.push_back(sum);
      }
    }
    return dx;
  }

  /// [experts, parts, out, in] = before + the rows' scale dy x
  std::vector<T> backward_weights(const std::vector<T>& dy, const std::vector<T>& x, std::vector<T> before) const {
    for (int r = 0; r < rows(); ++r) {
      for (int p = 0; p < parts; ++p) {
        for (int f = 0; f < out; ++f) {
          for (int d = 0; d < in; ++d) {
            T& sum = before[((long(expert[r]) * parts + p) * out + f) * in + d];
            sum = std::fma(T(scale[r] * dy[(r * parts + p) * out + f]), x[r * in + d], sum);
          }
        }
      }
    }
    return before;
  }
};

}  // namespace reference
