#pragma once

#include <moe/core/float16.hpp>
#include <moe/core/operands.hpp>
#include <moe/core/simd.hpp>
#include <moe/gemm/host/block.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>

MOE_UNROLL_BEGIN
namespace moe::detail {

#if !defined(__CUDA_ARCH__)  // nvcc's device pass, which knows no vectors, reads host code too
/// Turns a square of numbers: v[i][j] becomes v[j][i]. As wide as every x86 and ARM CPU has registers.
inline void transpose(Native<float, 4> (&v)[4]) {
  const auto a = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5), b = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
  const auto c = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5), d = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
  v[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
  v[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  v[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
  v[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}
inline void transpose(Native<std::uint32_t, 4> (&v)[4]) {
  Native<float, 4> f[4];
  __builtin_memcpy(f, v, sizeof(f));
  transpose(f);
  __builtin_memcpy(v, f, sizeof(f));
}
inline void transpose(Native<double, 2> (&v)[2]) {
  const auto a = v[0], b = v[1];
  v[0] = __builtin_shufflevector(a, b, 0, 2);
  v[1] = __builtin_shufflevector(a, b, 1, 3);
}
#endif

/// Numbers in 16 bytes.
template <class T>
inline constexpr int quad = 16 / int(sizeof(T));

/// What is packed of rows of SourceT: numbers of the type that is computed in, or words, of two bfloat16 as they lie.
template <class T>
inline constexpr bool is_word = std::is_same_v<T, std::uint32_t>;
/// Numbers of a row that are packed together.
template <class T, class SourceT>
inline constexpr int packed_together = is_word<T> ? int(sizeof(T) / sizeof(SourceT)) : 1;

#if !defined(__CUDA_ARCH__)
/// quad<T> packed elements from element i of a row on, not yet scaled.
template <class T, class SourceT>
void load_quad(const SourceT* x, int i, Native<T, quad<T>>& v) {
  if constexpr (std::is_same_v<T, SourceT> || is_word<T>) {
    __builtin_memcpy(&v, x + i * packed_together<T, SourceT>, sizeof(v));
  } else if constexpr (std::is_same_v<SourceT, bfloat16>) {
    Native<std::uint16_t, quad<T>> narrow;
    __builtin_memcpy(&narrow, x + i, sizeof(narrow));
    v = reinterpret_cast<Native<T, quad<T>>>(__builtin_convertvector(narrow, Native<std::uint32_t, quad<T>>) << 16);
  } else {
    for (int j = 0; j < quad<T>; ++j) v[j] = T(x[i + j]);
  }
}
#endif

/// One of them, scaled; words have no scale.
template <class T, class SourceT>
T packed_element(const SourceT* x, int i, [[maybe_unused]] T scale) {
  if constexpr (is_word<T>) {
    T word;
    __builtin_memcpy(&word, x + i * packed_together<T, SourceT>, sizeof(word));
    return word;
  } else {
    return scale * T(x[i]);
  }
}

/// As many rows as 16 bytes hold elements.
template <class T, class SourceT>
struct FewRows {
  const SourceT* x[quad<T>];
  T scale[quad<T>];
};

/// to[i * step + r] = scale[r] * x[r][i] for i < n, while the beginnings of the rows to come are fetched.
template <class T, class SourceT>
void pack_few(const FewRows<T, SourceT>& rows, const FewRows<T, SourceT>& next, int n, T* to, std::int64_t step) {
  constexpr int width = quad<T>;
  using Memory = UnalignedNative<T, width>;
  int i = 0;
  for (; i + line<T> <= n; i += line<T>) {
    MOE_UNROLL
    for (int r = 0; r < width; ++r) __builtin_prefetch(next.x[r] + i * packed_together<T, SourceT>);
    for (int part = 0; part < line<T>; part += width) {
      Native<T, width> v[width];
      MOE_UNROLL
      for (int r = 0; r < width; ++r) {
        load_quad<T>(rows.x[r], i + part, v[r]);
        if constexpr (!is_word<T>) v[r] = v[r] * rows.scale[r];
      }
      transpose(v);
      MOE_UNROLL
      for (int j = 0; j < width; ++j, to += step) *reinterpret_cast<Memory*>(to) = v[j];
    }
  }
  for (; i < n; ++i, to += step) {
    for (int r = 0; r < width; ++r) to[r] = packed_element(rows.x[r], i, rows.scale[r]);
  }
}

/// Packs rows as [block of k][tile][k][row of the tile], which is how `multiply` walks through them: k = f * parts + p
/// for column f of part p. Words are packed of rows of one part, and k counts them.
template <class T, class SourceT, class ScaleT>
struct RowPacker {
  const RowSource<SourceT, ScaleT>& source;
  int parts;
  int first_row, rows;
  int depth, block;
  T* to;

  void operator()(int tile_rows) const {
    const RowTiles split(rows, tile_rows);
    for (int t = 0; t < split.count; ++t) tile(split.begin(t), split.rows(t));
  }

 private:
  /// A few rows at a time, each from its beginning to its end, which is how memory likes to be read.
  void tile(int begin, int height) const {
    int r = 0;
    if constexpr (!std::is_same_v<SourceT, half>) {
      // The last ones overlap those before, rather than having code of their own.
      for (; height >= quad<T> && r < height; r += quad<T>) few(begin, height, std::min(r, height - quad<T>));
    }
    for (; r < height; ++r) one(begin, height, r);
  }

  T* out(int begin, int r, int k0, int k1) const {
    return to + std::int64_t(k0) * rows + std::int64_t(begin) * (k1 - k0) + r;
  }

  void few(int begin, int height, int r) const {
    for (int k0 = 0; k0 < depth; k0 += block) {
      const int k1 = std::min(k0 + block, depth);
      for (int p = 0; p < parts; ++p) {
        pack_few(few_rows(begin + r, p, k0), few_rows(begin + r + quad<T>, p, k0), (k1 - k0) / parts,
                 out(begin, r, k0, k1) + p * height, std::int64_t(parts) * height);
      }
    }
  }

  FewRows<T, SourceT> few_rows(int first, int part, int k) const {
    FewRows<T, SourceT> few;
    for (int i = 0; i < quad<T>; ++i) {
      const int row = first_row + std::min(first + i, rows - 1);
      few.x[i] = source.row(row, part) + k / parts * packed_together<T, SourceT>;
      few.scale[i] = T(source.factor(row));
    }
    return few;
  }

  void one(int begin, int height, int r) const {
    const T scale = T(source.factor(first_row + begin + r));
    for (int k0 = 0; k0 < depth; k0 += block) {
      const int k1 = std::min(k0 + block, depth);
      for (int p = 0; p < parts; ++p) {
        const SourceT* const x = source.row(first_row + begin + r, p);
        T* at = out(begin, r, k0, k1) + p * height;
        for (int f = k0 / parts; f < k1 / parts; ++f, at += parts * height) *at = packed_element(x, f, scale);
      }
    }
  }
};

/// to[i] = scale * x[i] for i < n.
template <class T, class SourceT>
void copy_scaled(const SourceT* x, T scale, int n, T* to) {
  int i = 0;
  if constexpr (!std::is_same_v<SourceT, half>) {
    using Memory = UnalignedNative<T, quad<T>>;
    // The last ones overlap those before.
    for (; n >= quad<T> && i < n; i += quad<T>) {
      const int at = std::min(i, n - quad<T>);
      Native<T, quad<T>> v;
      load_quad<T>(x, at, v);
      *reinterpret_cast<Memory*>(to + at) = v * scale;
    }
  }
  for (; i < n; ++i) to[i] = scale * T(x[i]);
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
      copy_scaled(x + first, scale, width, to + std::int64_t(first) * rows + std::int64_t(r) * width);
    }
  }
}

/// Packs rows of dy as lines of panels, [line][row][part][lane], zeros where a panel is wider than the matrix.
template <class T, class SourceT, class ScaleT>
void pack_deltas(const RowSource<SourceT, ScaleT>& source, MatrixExtents m, int first_row, int rows, int first_line,
                 int lines, T* to) {
  constexpr int ahead = 4;  // rows, a short piece of each of which is read
  const int lanes = Panels::lanes<T>(m.parts);
  for (int r = 0; r < rows; ++r) {
    const T scale = T(source.factor(first_row + r));
    for (int p = 0; p < m.parts; ++p) {
      const SourceT* const dy = source.row(first_row + r, p);
      const SourceT* const next = source.row(first_row + std::min(r + ahead, rows - 1), p);
      for (int j = 0; j < lines; ++j) {
        const int f0 = (first_line + j) * lanes, width = std::min(lanes, m.out - f0);
        T* const out = to + (std::int64_t(j) * rows + r) * line<T> + p * lanes;
        __builtin_prefetch(next + f0);
        copy_scaled(dy + f0, scale, width, out);
        std::fill(out + width, out + lanes, T(0));
      }
    }
  }
}

}  // namespace moe::detail
MOE_UNROLL_END
