#pragma once

#include <moe/core/float16.hpp>
#include <moe/core/quantised.hpp>

#include <type_traits>

namespace moe {

/// What numbers of a storage type are computed in: double for double, float otherwise.
template <class StorageT>
using compute_type = std::conditional_t<std::is_same_v<StorageT, double>, double, float>;

/// Rows that are multiplied as they are.
struct ExactRows {};

/// The scalar types of a layer. `storage`: the activations, what the user passes in, biases and vectors: float, double,
/// bfloat16 or half. `weights`: the experts' matrices: the same, unless WeightT says another: float, bfloat16, half, or
/// one of the quantised types, which are not trained. `compute`: accumulators, the router, gates, scores, losses and the
/// gradients of parameters: float, or double where the storage is double. RowT = int8 rounds the rows too where they are
/// multiplied with quantised weights in forward: see QuantisedRows.
///
///     moe::Precision<moe::bfloat16>{}                 two bytes
///     moe::Precision<float, moe::int8>{}              weights of a byte, made by moe::quantise
///     moe::Precision<float, moe::int4, moe::int8>{}   the fastest: weights of half a byte times rows of a byte
template <class StorageT = float, class WeightT = StorageT, class RowT = ExactRows>
struct Precision {
  static_assert(std::is_same_v<StorageT, float> || std::is_same_v<StorageT, double> || is_float16_v<StorageT>,
                "moe: Precision<StorageT> knows float, double, moe::bfloat16 and moe::half");
  static_assert(
      std::is_same_v<WeightT, StorageT> || std::is_same_v<WeightT, float> || is_float16_v<WeightT> ||
          is_quantised_v<WeightT>,
      "moe: Precision<StorageT, WeightT> knows as weights float, moe::bfloat16, moe::half, moe::int8, moe::int4 "
      "and moe::mxfp4");
  static_assert(std::is_same_v<WeightT, StorageT> || !std::is_same_v<StorageT, double>,
                "moe: Precision<double> has weights of double: what is computed in double has no use for shorter ones");
  static_assert(
      std::is_same_v<RowT, ExactRows> || (std::is_same_v<RowT, int8> && is_quantised_v<WeightT>),
      "moe: the third argument of Precision is moe::int8, for rows that are rounded where they are multiplied with "
      "quantised weights, or is left out");
  using storage = StorageT;
  using weights = WeightT;
  using rows = RowT;
  using compute = compute_type<StorageT>;
  static constexpr bool trains_weights = !is_quantised_v<WeightT>;
};

template <class T>
inline constexpr bool is_precision_v = false;
template <class StorageT, class WeightT, class RowT>
inline constexpr bool is_precision_v<Precision<StorageT, WeightT, RowT>> = true;

namespace detail {

/// All in what is computed in, and nothing for the matrices.
template <class ComputeT>
struct WithoutMatrices : Precision<ComputeT> {
  static constexpr bool trains_weights = false;
};

/// What gradients are made by.
template <class PrecisionT>
using GradientPrecision = std::conditional_t<PrecisionT::trains_weights, Precision<typename PrecisionT::compute>,
                                             WithoutMatrices<typename PrecisionT::compute>>;

}  // namespace detail
}  // namespace moe
