#pragma once

#include <moe/gemm/host.hpp>
#include <moe/gemm/portable.hpp>

#include <Kokkos_Core.hpp>

#include <type_traits>

namespace moe {

/// The engine for an execution space and an accumulator type. Specialise it for a space of your own.
template <class ExecT, class AccT>
struct EngineFor {
  static constexpr bool on_host =
      Kokkos::SpaceAccessibility<Kokkos::HostSpace, typename ExecT::memory_space>::accessible;
  using type = std::conditional_t<on_host, HostEngine<ExecT, AccT>, PortableEngine<ExecT, AccT>>;
};

/// A layer's last argument: the fastest engine for its execution space.
struct BestEngine {
  template <class ExecT, class AccT>
  using type = typename EngineFor<ExecT, AccT>::type;
};

/// A layer's last argument: the portable engine, wherever the layer runs.
struct PortableTeams {
  template <class ExecT, class AccT>
  using type = PortableEngine<ExecT, AccT>;
};

}  // namespace moe
