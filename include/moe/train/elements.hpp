#pragma once

#include <moe/core/kernel.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <string>

#if defined(__clang__)
#define MOE_INDEPENDENT_ITERATIONS _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define MOE_INDEPENDENT_ITERATIONS _Pragma("GCC ivdep")
#else
#define MOE_INDEPENDENT_ITERATIONS
#endif

namespace moe::detail {

/// Neighbouring elements that one work item takes where the cores are those of the host. Fixed: which elements are
/// computed by the vector loop and which by its tail must not depend on the number of threads.
inline constexpr std::int64_t element_block = 4096;

template <class ExecT>
inline constexpr bool runs_on_host = Kokkos::SpaceAccessibility<ExecT, Kokkos::HostSpace>::accessible;

template <class FunctorT>
struct ElementBlock {
  FunctorT functor;
  std::int64_t count;

  KOKKOS_FUNCTION void operator()(std::int64_t block) const {
    const FunctorT element = functor;  // a copy that no store can alias, so that its members stay in registers
    const std::int64_t begin = block * element_block, end = Kokkos::min(count, begin + element_block);
    MOE_INDEPENDENT_ITERATIONS
    for (std::int64_t i = begin; i < end; ++i) element(i);
  }
};

/// functor(i) for each i in [0, count), which no two of them write: blocks that vectorise on the host, neighbouring
/// threads for neighbouring elements elsewhere.
template <class ExecT, class FunctorT>
void launch_elements(const ExecT& exec, const std::string& label, std::int64_t count, const FunctorT& functor) {
  if constexpr (runs_on_host<ExecT>) {
    launch(exec, label, (count + element_block - 1) / element_block, ElementBlock<FunctorT>{functor, count});
  } else {
    launch(exec, label, count, functor);
  }
}

}  // namespace moe::detail

#undef MOE_INDEPENDENT_ITERATIONS
