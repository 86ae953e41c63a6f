#pragma once

#include <moe/core/layout.hpp>

#include <Kokkos_Macros.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace moe {

/// The rows of a grouped product, sorted by expert: rows offsets[e] .. offsets[e + 1] - 1 belong to expert e. The
/// offsets live on the device; the host knows only an upper bound on their last one. `offsets == nullptr` is one
/// segment of max_rows rows: a dense product.
struct Segments {
  const int* offsets = nullptr;  ///< [count + 1], on the device
  int count = 1;
  int max_rows = 0;

  KOKKOS_FUNCTION int begin(int e) const { return offsets ? offsets[e] : 0; }
  KOKKOS_FUNCTION int end(int e) const { return offsets ? offsets[e + 1] : max_rows; }
};

/// Where a product reads its rows: row r, part p, column c is
/// `scale[r] * data[index[r] * stride + p * part_stride + c]`, so that a gather and a gate cost no pass of their own.
/// No index: r itself. No scale: 1.
template <class T, class ScaleT = T>
struct RowSource {
  const T* data = nullptr;
  std::int64_t stride = 0;       ///< elements from one row to the next
  std::int64_t part_stride = 0;  ///< elements from one part to the next; rows of one part ignore it
  const int* index = nullptr;
  const ScaleT* scale = nullptr;

  KOKKOS_FUNCTION const T* row(int r, int part = 0) const {
    return data + std::int64_t(index ? index[r] : r) * stride + part * part_stride;
  }
  KOKKOS_FUNCTION ScaleT factor(int r) const { return scale ? scale[r] : ScaleT(1); }
};

/// A pointer that may be an element of a View (a View<T**> would be one of rank two).
template <class T>
struct Pointer {
  T* address = nullptr;
};

/// The matrices of a grouped product: a pointer for each expert, in the layout that the engine wants. Experts need not
/// be neighbours in memory; a null pointer is an expert without a matrix: a product that would write it skips it.
template <class T>
struct Weights {
  const Pointer<std::remove_const_t<T>>* experts = nullptr;  ///< [count], on the device
  MatrixExtents extents;

  KOKKOS_FUNCTION T* operator()(int expert) const { return experts[expert].address; }
};

/// The largest products that a policy asks an engine for: what the engine's scratch is sized by.
struct EngineLimits {
  int segments = 1;  ///< experts
  int rows = 0;      ///< rows of one product
  int columns = 0;   ///< parts * in or parts * out of a matrix, whichever is larger

  EngineLimits max(EngineLimits other) const {
    return {std::max(segments, other.segments), std::max(rows, other.rows), std::max(columns, other.columns)};
  }
};

/// Columns that an engine may write past the last one, so that a row's tail is a whole vector: outputs of products
/// have rows of `padded(columns)` elements, 64 bytes each.
template <class T>
KOKKOS_FUNCTION constexpr int padded(int columns) {
  constexpr int line = 64 / int(sizeof(T));
  return (columns + line - 1) / line * line;
}

}  // namespace moe
