#pragma once

#include <moe/core/float16.hpp>
#include <moe/core/quantised.hpp>

#include <type_traits>

namespace moe {

/// What numbers of a storage type are computed in: double for double, float otherwise.
template <class StorageT>
using compute_type = std::conditional_t<std::is_same_v<StorageT, double>, double, float>;

/// The scalar types of a layer. `storage`: the activations, what the user passes in, biases and vectors: float, double,
/// bfloat16 or half. `weights`: the experts' matrices: the same, unless WeightT says another: float, bfloat16, half, or
/// one of the quantised types, which are not trained. `compute`: accumulators, the router, gates, scores, losses and the
/// gradients of parameters: float, or double where the storage is double.
///
///     moe::Precision<moe::bfloat16>{}                 two bytes
///     moe::Precision<float, moe::int8>{}              weights of a byte, made by moe::quantise
template <class StorageT = float, class WeightT = StorageT, bool TrainsV = !is_quantised_v<WeightT>>
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
  using storage = StorageT;
  using weights = WeightT;
  using compute = compute_type<StorageT>;
  static constexpr bool trains_weights = TrainsV;
};

template <class T>
inline constexpr bool is_precision_v = false;
template <class StorageT, class WeightT, bool TrainsV>
inline constexpr bool is_precision_v<Precision<StorageT, WeightT, TrainsV>> = true;

}  // namespace moe
