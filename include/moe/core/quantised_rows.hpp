#pragma once

#include <moe/core/layout.hpp>
#include <moe/core/operands.hpp>

#include <cstdint>

namespace moe {

/// Rows that a product with quantised weights rounds to a byte first: in groups of inputs, 256 of them for int8 and the 32
/// of a scale for four bits, q = round(x / s) with s = max |x| / 127 of the group. Each group is then a sum of integers,
/// which is exact in any order and has the same bits on every machine,
///
///     y = sum over groups g, ascending, of (w's scale * s_g) * sum_k q_w q_x
///
/// and CPUs add four or sixteen such products at once. A group with a NaN or an infinity is NaN.
template <class T, class ScaleT>
struct QuantisedRows {
  RowSource<T, ScaleT> rows;
};

namespace detail {

/// How rows are rounded for weights of a type: in groups of `group` inputs.
template <class WeightT>
struct RowCode {
  static constexpr int group = Code<WeightT>::group == 0 ? 256 : Code<WeightT>::group;
  KOKKOS_FUNCTION static constexpr int groups(int in) { return (in + group - 1) / group; }
};

/// A group's scale and what brings its numbers to integers.
struct RowScale {
  float scale, inverse;

  /// `largest` magnitude of the finite numbers; `poison` is 0, or NaN if one is not finite.
  MOE_INLINE RowScale(float largest, float poison)
      : scale(largest / 127 + poison), inverse(largest > 0 && poison == 0 ? 127 / largest : 0) {}
  /// To the nearest integer, ties to even: adding 1.5 * 2^23, in one rounding, leaves it in the lowest bits. Numbers that are not finite are
  /// of no consequence, as their group's scale is NaN.
  MOE_INLINE std::int32_t operator()(float x) const {
    return inverse > 0
               ? std::int32_t(Kokkos::bit_cast<std::uint32_t>(Kokkos::fma(x, inverse, 12582912.0f)) - 0x4b400000u)
               : 0;
  }
};

/// The code of a weight as an integer: w = integer * unit * scale.
template <class WeightT>
MOE_INLINE std::int32_t integer_code(std::uint32_t word, int i) {
  return std::int32_t(Code<WeightT>::value(word, i) / Code<WeightT>::unit);
}

}  // namespace detail
}  // namespace moe
