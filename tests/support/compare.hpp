#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

namespace test {

inline constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
inline constexpr double infinity = std::numeric_limits<double>::infinity();

/// What rounding may cost a result of a few hundred operations, relative to the largest element.
template <class T>
inline constexpr double tolerance = std::is_same_v<T, double> ? 1e-13 : 5e-6;

/// max |actual - expected| / max |expected|; infinite where the sizes differ, or one is NaN where the other is not.
template <class ActualT, class ExpectedT>
double error(const std::vector<ActualT>& actual, const std::vector<ExpectedT>& expected) {
  if (actual.size() != expected.size()) return std::numeric_limits<double>::infinity();
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double a = double(actual[i]), e = double(expected[i]);
    if (std::isnan(a) != std::isnan(e)) return std::numeric_limits<double>::infinity();
    if (std::isnan(a) || a == e) continue;
    worst = std::max(worst, std::abs(a - e));
    largest = std::max(largest, std::abs(e));
  }
  return worst == 0 ? 0 : worst / largest;
}

/// The same bits, NaN and the sign of zero included.
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

template <class T>
bool all_zero(const std::vector<T>& values) {
  return std::all_of(values.begin(), values.end(), [](T v) { return v == T(0); });
}

/// Elements [begin, begin + count).
template <class T>
std::vector<T> slice(const std::vector<T>& values, std::size_t begin, std::size_t count) {
  return std::vector<T>(values.begin() + begin, values.begin() + begin + count);
}

}  // namespace test
