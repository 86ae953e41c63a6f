#pragma once

#include <type_traits>

namespace moe {

/// The scalar types of a layer. `storage`: parameters, activations and what the user passes in. `compute`:
/// accumulators, gates, scores and losses; float, or double where the storage is double. Gradients have the type and
/// the layout of the storage.
template <class StorageT = float>
struct Precision {
  static_assert(std::is_same_v<StorageT, float> || std::is_same_v<StorageT, double>,
                "moe: Precision<StorageT> knows float and double");
  using storage = StorageT;
  using compute = std::conditional_t<std::is_same_v<StorageT, double>, double, float>;
};

template <class T>
inline constexpr bool is_precision_v = false;
template <class StorageT>
inline constexpr bool is_precision_v<Precision<StorageT>> = true;

}  // namespace moe
