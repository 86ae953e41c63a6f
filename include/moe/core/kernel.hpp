#pragma once

#include <Kokkos_Core.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

namespace moe::detail {

/// The text of a kernel's label, as a template argument.
template <std::size_t SizeV>
struct Text {
  char characters[SizeV] = {};
  consteval Text(const char (&text)[SizeV]) {  // NOLINT(google-explicit-constructor): `kernel_label<"moe::add">`
    std::copy_n(text, SizeV, characters);
  }
};

/// A kernel's label, made before main. Kokkos takes a std::string; one made at the launch, or in a function's static
/// variable, would take memory from the heap in forward's first call.
template <Text TextV>
inline const std::string kernel_label = TextV.characters;

/// One work item for each index in [0, count).
template <class ExecT, class FunctorT>
void launch(const ExecT& exec, const std::string& label, std::int64_t count, const FunctorT& functor) {
  if (count == 0) return;
  // A policy without a chunk size asks for the space's concurrency, and in Kokkos 4 OpenMP::concurrency makes a second
  // instance for its default argument, on the heap. Host threads take the chunk, devices choose for themselves.
  constexpr bool on_host = Kokkos::SpaceAccessibility<Kokkos::HostSpace, typename ExecT::memory_space>::accessible;
  int chunk = 1;
  while (on_host && chunk < 128 && chunk * 256 < count) chunk *= 2;
  Kokkos::parallel_for(
      label, Kokkos::RangePolicy<ExecT, Kokkos::IndexType<std::int64_t>>(exec, 0, count, Kokkos::ChunkSize(chunk)),
      functor);
}

}  // namespace moe::detail
