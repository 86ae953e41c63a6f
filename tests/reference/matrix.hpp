#pragma once

#include <cmath>
#include <vector>

/// Plain references in double, written for reading. A matrix is a std::vector, row by row. Nothing here is shared with
/// the library.
namespace reference {

using Values = std::vector<double>;

inline Values row(const Values& matrix, int columns, int r) {
  return Values(matrix.begin() + long(r) * columns, matrix.begin() + long(r + 1) * columns);
}

/// W x, with W [out, in]
inline Values multiply(const Values& w, const Values& x) {
  const int in = int(x.size()), out = int(w.size()) / in;
  Values y(out, 0.0);
  for (int o = 0; o < out; ++o) {
    for (int i = 0; i < in; ++i) y[o] += w[o * in + i] * x[i];
  }
  return y;
}

}  // namespace reference
