#pragma once

#include <moe/core/operands.hpp>
#include <moe/gemm/host/scratch.hpp>
#include <moe/gemm/host/tile.hpp>

#include <algorithm>
#include <cstdint>

namespace moe::detail {

/// Packs depths [k0, k1) of a tile's rows as [k][row], k = f * parts + p for column f of part p.
template <class T, class SourceT, class ScaleT>
void pack_tile(const RowSource<SourceT, ScaleT>& source, int parts, int first_row, int rows, int k0, int k1, T* to) {
  for (int r = 0; r < rows; ++r) {
    const T scale = T(source.factor(first_row + r));
    for (int p = 0; p < parts; ++p) {
      const SourceT* const x = source.row(first_row + r, p);
      T* out = to + std::int64_t(p) * rows + r;
      for (int f = k0 / parts; f < k1 / parts; ++f, out += parts * rows) *out = scale * T(x[f]);
    }
  }
}

/// Packs whole rows as [block of k][tile][k][row of the tile], which is how `multiply` walks through them.
template <class T, class SourceT, class ScaleT>
void pack_rows(const RowSource<SourceT, ScaleT>& source, int parts, int first_row, int rows, int tile_rows, int depth,
               int block, T* to) {
  const RowTiles split(rows, tile_rows);
  for (int k0 = 0; k0 < depth; k0 += block) {
    const int k1 = std::min(k0 + block, depth);
    for (int t = 0; t < split.count; ++t) {
      pack_tile(source, parts, first_row + split.begin(t), split.rows(t), k0, k1,
                to + std::int64_t(k0) * rows + std::int64_t(split.begin(t)) * (k1 - k0));
    }
  }
}

/// Packs columns [d0, d0 + columns) of rows as the tiles of a product whose depth are the rows: [tile][row][column].
template <class T, class SourceT, class ScaleT>
void pack_columns(const RowSource<SourceT, ScaleT>& source, int first_row, int rows, int d0, int columns,
                  int tile_columns, T* to) {
  const RowTiles split(columns, tile_columns);
  for (int r = 0; r < rows; ++r) {
    const SourceT* const x = source.row(first_row + r) + d0;
    const T scale = T(source.factor(first_row + r));
    for (int t = 0; t < split.count; ++t) {
      const int first = split.begin(t), width = split.rows(t);
      T* const out = to + std::int64_t(first) * rows + std::int64_t(r) * width;
      for (int d = 0; d < width; ++d) out[d] = scale * T(x[first + d]);
    }
  }
}

/// Packs rows of dy as lines of panels, [line][row][part][lane], zeros where a panel is wider than the matrix.
template <class T, class SourceT, class ScaleT>
void pack_deltas(const RowSource<SourceT, ScaleT>& source, MatrixExtents m, int first_row, int rows, int first_line,
                 int lines, T* to) {
  const int lanes = Panels::lanes<T>(m.parts);
  for (int r = 0; r < rows; ++r) {
    const T scale = T(source.factor(first_row + r));
    for (int j = 0; j < lines; ++j) {
      const int f0 = (first_line + j) * lanes, width = std::min(lanes, m.out - f0);
      for (int p = 0; p < m.parts; ++p) {
        const SourceT* const dy = source.row(first_row + r, p) + f0;
        T* const out = to + (std::int64_t(j) * rows + r) * line<T> + p * lanes;
        for (int i = 0; i < width; ++i) out[i] = scale * T(dy[i]);
        for (int i = width; i < lanes; ++i) out[i] = T(0);
      }
    }
  }
}

/// Transposes depths [k0, k1) of lines of inputs, out of the panels of a matrix: [line][k][input], k = f * parts + p,
/// zeros past the last input.
template <class T>
void pack_transposed(const T* matrix, MatrixExtents m, int k0, int k1, int first_line, int lines, T* to) {
  constexpr int width = line<T>;
  const int lanes = Panels::lanes<T>(m.parts), depth = k1 - k0;
  for (int k = k0; k < k1; k += width) {
    const T* const panel = matrix + std::int64_t(k / width) * m.in * width;
    for (int j = 0; j < lines; ++j) {
      const int d0 = (first_line + j) * width, inputs = std::min(width, m.in - d0);
      T* const out = to + (std::int64_t(j) * depth + (k - k0)) * width;
      for (int i = 0; i < std::min(width, k1 - k); ++i) {
        const T* const from = panel + std::int64_t(d0) * width + i % m.parts * lanes + i / m.parts;
        for (int d = 0; d < inputs; ++d) out[i * width + d] = from[d * width];
        for (int d = inputs; d < width; ++d) out[i * width + d] = T(0);
      }
    }
  }
}

}  // namespace moe::detail
