#pragma once

#include <Kokkos_Core.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

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

/// Whether a launch has run when it returns, so that it may refer to what is on the caller's stack.
template <class ExecT>
constexpr bool runs_at_once() {
  bool found = false;
#ifdef KOKKOS_ENABLE_SERIAL
  found = found || std::is_same_v<ExecT, Kokkos::Serial>;
#endif
#ifdef KOKKOS_ENABLE_OPENMP
  found = found || std::is_same_v<ExecT, Kokkos::OpenMP>;
#endif
#ifdef KOKKOS_ENABLE_THREADS
  found = found || std::is_same_v<ExecT, Kokkos::Threads>;
#endif
  return found;
}

/// A functor's items in chunks, whatever the functor: what Kokkos makes of a launch is compiled once and not for each
/// kernel, which takes an eighth off the time to compile a layer.
struct Chunks {
  const void* functor;
  void (*run)(const void* functor, std::int64_t begin, std::int64_t end);
  std::int64_t count;
  std::int64_t size;

  void operator()(std::int64_t chunk) const { run(functor, chunk * size, std::min(count, (chunk + 1) * size)); }

  template <class FunctorT>
  static void run_items(const void* functor, std::int64_t begin, std::int64_t end) {
    const FunctorT& item = *static_cast<const FunctorT*>(functor);
    for (std::int64_t i = begin; i < end; ++i) item(i);
  }
};

/// The label where a tool will read it, else an empty one: Kokkos 5 copies it at each launch, onto the heap if it is long.
inline const std::string& label_for_tools(const std::string& label) {
  return Kokkos::Tools::profileLibraryLoaded() ? label : kernel_label<"">;
}

template <class ExecT, class FunctorT>
void launch_range(const ExecT& exec, const std::string& label, std::int64_t count, int chunk, const FunctorT& functor) {
  Kokkos::parallel_for(
      label_for_tools(label),
      Kokkos::RangePolicy<ExecT, Kokkos::IndexType<std::int64_t>>(exec, 0, count, Kokkos::ChunkSize(chunk)), functor);
}

/// One work item for each index in [0, count).
template <class ExecT, class FunctorT>
void launch(const ExecT& exec, const std::string& label, std::int64_t count, const FunctorT& functor) {
  if (count == 0) return;
  // A policy without a chunk size asks for the space's concurrency, and in Kokkos 4 OpenMP::concurrency makes a second
  // instance for its default argument, on the heap. Host threads take the chunk, devices choose for themselves.
  constexpr bool on_host = Kokkos::SpaceAccessibility<Kokkos::HostSpace, typename ExecT::memory_space>::accessible;
  int chunk = 1;
  while (on_host && chunk < 128 && chunk * 256 < count) chunk *= 2;
  if constexpr (runs_at_once<ExecT>()) {
    const Chunks chunks{&functor, &Chunks::run_items<FunctorT>, count, chunk};
    launch_range(exec, label, (count + chunk - 1) / chunk, 1, chunks);
  } else {
    launch_range(exec, label, count, chunk, functor);
  }
}

/// A page of zeros for each item, less at the end.
struct ZeroPage {
  static constexpr std::int64_t page = 4096;
  std::byte* to;
  std::int64_t bytes;
  void operator()(std::int64_t item) const {
    std::fill(to + item * page, to + std::min(bytes, (item + 1) * page), std::byte(0));
  }
};

/// Zeros for all elements of a View. On the host by the threads that will use them, and with less to compile than a
/// deep_copy, of which there is one for each type.
template <class ExecT, class ViewT>
void launch_zero(const ExecT& exec, const ViewT& view) {
  if constexpr (runs_at_once<ExecT>()) {
    const std::int64_t bytes = std::int64_t(view.size() * sizeof(typename ViewT::value_type));
    const ZeroPage zero{reinterpret_cast<std::byte*>(view.data()), bytes};
    launch(exec, kernel_label<"moe::zero">, (bytes + ZeroPage::page - 1) / ZeroPage::page, zero);
  } else {
    Kokkos::deep_copy(exec, view, typename ViewT::value_type{});
  }
}

}  // namespace moe::detail
