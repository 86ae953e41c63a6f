#pragma once

#include <cmath>
#include <reference/matrix.hpp>

namespace reference {

/// weight * x / sqrt(mean of x^2 + epsilon)
inline Values rms_norm(const Values& x, const Values& weight, double epsilon) {
  double mean = 0;
  for (const double each : x) mean += each * each / double(x.size());
  Values y;
  for (std::size_t i = 0; i < x.size(); ++i) y.push_back(weight[i] * x[i] / std::sqrt(mean + epsilon));
  return y;
}

}  // namespace reference
