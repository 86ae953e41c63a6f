#pragma once

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <string>

namespace moe::detail {

/// One work item for each index in [0, count). `label` outlives the call: a literal of more than 15 characters would
/// build a string on the heap at every launch.
template <class ExecT, class FunctorT>
void launch(const ExecT& exec, const std::string& label, std::int64_t count, const FunctorT& functor) {
  if (count == 0) return;
  Kokkos::parallel_for(label, Kokkos::RangePolicy<ExecT, Kokkos::IndexType<std::int64_t>>(exec, 0, count), functor);
}

}  // namespace moe::detail
