#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

/// \file
/// Quantised weights, by what is published: for a group of weights its scale, and the levels that a weight can have.
namespace reference {

/// Float to bfloat16 and back: to the nearest, ties to even.
inline double round_to_bfloat16(double value) {
  if (value == 0) return value;
  int exponent = 0;
  std::frexp(value, &exponent);  // |value| in [2^(exponent - 1), 2^exponent): 8 significant bits
  const double unit = std::ldexp(1.0, std::max(exponent - 8, -133));
  return std::nearbyint(value / unit) * unit;
}

/// The first of those that are largest by magnitude.
inline double extreme(const std::vector<double>& group) {
  double most = 0;
  for (const double w : group) {
    if (std::abs(w) > std::abs(most)) most = w;
  }
  return most;
}

/// Symmetric, to 127, with a float scale.
struct Int8 {
  static constexpr int group = 0;  ///< all inputs of an output
  static double scale(const std::vector<double>& weights) {
    return double(float(float(std::abs(extreme(weights))) / 127.0f));
  }
  static std::vector<double> levels() {
    std::vector<double> all;
    for (int q = -127; q <= 127; ++q) all.push_back(q);
    return all;
  }
};

/// ggml's q4_0 with a scale in bfloat16: what is largest becomes -8.
struct Int4 {
  static constexpr int group = 32;
  static double scale(const std::vector<double>& weights) { return round_to_bfloat16(extreme(weights) / -8); }
  static std::vector<double> levels() {
    std::vector<double> all;
    for (int q = -8; q <= 7; ++q) all.push_back(q);
    return all;
  }
};

/// OCP Microscaling Formats (MX) 1.0: table 5 for E2M1, section 5.4.1 for E8M0, section 6.3 for the scale.
struct Mxfp4 {
  static constexpr int group = 32;
  static constexpr double elements[16] = {0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0};
  static double scale_of(int e) {
    return e == 255 ? std::numeric_limits<double>::quiet_NaN() : std::ldexp(1.0, e - 127);
  }
  static double scale(const std::vector<double>& weights) {
    const double most = std::abs(extreme(weights));
    if (most == 0) return std::ldexp(1.0, -127);
    return std::ldexp(1.0, std::max(std::ilogb(most) - 2, -127));
  }
  static std::vector<double> levels() { return {elements, elements + 16}; }
};

/// How far the nearest level is.
inline double distance(const std::vector<double>& levels, double scale, double weight) {
  double least = std::numeric_limits<double>::infinity();
  for (const double level : levels) least = std::min(least, std::abs(level * scale - weight));
  return least;
}

}  // namespace reference
