#pragma once

#include <moe/core/error.hpp>

#include <Kokkos_Core.hpp>

#include <type_traits>

namespace moe {

/// Unmanaged views: what policies pass on. Rows are contiguous on every backend.
template <class T, class MemoryT>
using Vector = Kokkos::View<T*, Kokkos::LayoutRight, MemoryT, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;
template <class T, class MemoryT>
using Matrix = Kokkos::View<T**, Kokkos::LayoutRight, MemoryT, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;

namespace detail {

template <class T, class MemoryT>
Matrix<T, MemoryT> first_rows(const Matrix<T, MemoryT>& matrix, int rows) {
  return Matrix<T, MemoryT>(matrix.data(), rows, matrix.extent(1));
}

/// The user's [tokens, hidden] view as a Matrix, after the checks that can only be made where it is handed over.
template <class T, class MemoryT, class ViewT>
Matrix<T, MemoryT> as_matrix(const char* where, const ViewT& view) {
  constexpr bool is_matrix = [] {
    if constexpr (Kokkos::is_view_v<ViewT>) return ViewT::rank == 2;
    return false;
  }();
  static_assert(is_matrix, "moe: x, y, dx and dy must be Kokkos::Views of rank 2, [tokens, hidden]");
  if constexpr (is_matrix) {
    constexpr bool contiguous = std::is_same_v<typename ViewT::array_layout, Kokkos::LayoutRight>;
    constexpr bool same_elements =
        std::is_same_v<std::remove_const_t<typename ViewT::value_type>, std::remove_const_t<T>>;
    constexpr bool may_write = std::is_const_v<T> || !std::is_const_v<typename ViewT::value_type>;
    constexpr bool reachable = Kokkos::SpaceAccessibility<MemoryT, typename ViewT::memory_space>::accessible;
    static_assert(contiguous,
                  "moe: rows must be contiguous: ask for Kokkos::View<T**, Kokkos::LayoutRight, ...> (the default "
                  "layout of a CUDA or HIP View is LayoutLeft)");
    static_assert(same_elements,
                  "moe: the elements of x, y, dx and dy must have the storage type of the layer's Precision");
    static_assert(may_write, "moe: y and dx are written; their elements must not be const");
    static_assert(reachable, "moe: x, y, dx and dy must be in memory that the execution space can reach");
    if constexpr (contiguous && same_elements && may_write && reachable) {
      expect(view.extent(0) <= 1 || view.extent(1) <= 1 || view.stride(1) == 1, where,
             "expected rows with unit stride");
      return Matrix<T, MemoryT>(view);
    }
  }
  return {};  // after a sentence of the above, to keep it from being followed by others
}

}  // namespace detail
}  // namespace moe
