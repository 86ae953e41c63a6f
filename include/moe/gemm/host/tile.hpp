#pragma once

#include <moe/core/layout.hpp>
#include <moe/gemm/host/leaf.hpp>

#include <array>
#include <cstdint>
#include <utility>

// The loops over registers are unrolled by pragma: at -O2 g++ would not, and would keep the registers in memory.
#define MOE_UNROLL _Pragma("GCC unroll 16")
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675  // nvcc does not know the pragma, but hands it on to g++
#endif

namespace moe::detail {

/// Elements in a line, the 64 bytes that panels, packed operands and sums are made of.
template <class T>
inline constexpr int line = Panels::line_bytes / int(sizeof(T));

/// One tile of a product: for its rows r and the elements i of its lines l,
///
///     c[r, l, i] = c[r, l, i] or 0, plus sum over k of a[k, r] * b[l, k, i]
///
/// one chain of fused multiply-adds over ascending k for each element.
template <class T>
struct Tile {
  const T* a;           ///< [k][rows], packed
  const T* b;           ///< [line][k][element], the lines `b_line` elements apart
  std::int64_t b_line;  ///< 0: the tile's lines are the same one, of which there is only one left
  int depth;            ///< the number of k
  T* c;
  std::int64_t c_row, c_line;
  bool from_zero;
  const char* ahead;  ///< what to fetch meanwhile, for the calls to come: with each k one address of each line
  std::int64_t ahead_line, ahead_step;
};

/// All sums stay in registers.
template <class T, int RowsV, int LinesV>
struct TileKernel {
  template <class LeafT>
  static MOE_LEAF void run(const Tile<T>& tile) {
    constexpr int lanes = LeafT::vector_bytes / int(sizeof(T));
    constexpr int per_line = line<T> / lanes;
    constexpr int vectors = LinesV * per_line;
    using Ops = typename LeafT::template Ops<T, lanes>;
    using V = Native<T, lanes>;
    using Memory = UnalignedNative<T, lanes>;

    V sum[RowsV][vectors];
    MOE_UNROLL
    for (int r = 0; r < RowsV; ++r) {
      MOE_UNROLL
      for (int j = 0; j < vectors; ++j) {
        const T* const c = tile.c + r * tile.c_row + j / per_line * tile.c_line + j % per_line * lanes;
        if (tile.from_zero) {
          sum[r][j] = V{};
        } else {
          sum[r][j] = *reinterpret_cast<const Memory*>(c);
        }
      }
    }
    const T* a = tile.a;
    const T* b = tile.b;
    const std::int64_t b_line = tile.b_line, ahead_line = tile.ahead_line, ahead_step = tile.ahead_step;
    const char* ahead = tile.ahead;
    for (int k = tile.depth; k > 0; --k) {
      V weights[vectors];
      MOE_UNROLL
      for (int j = 0; j < vectors; ++j) {
        weights[j] = *reinterpret_cast<const Memory*>(b + j / per_line * b_line + j % per_line * lanes);
#if !defined(__clang__) && defined(MOE_X86)
        // g++ 12 would load them again in each multiplication, at half the speed.
        if constexpr (sizeof(V) <= LeafT::register_bytes) asm("" : "+v"(weights[j]));
#endif
      }
      MOE_UNROLL
      for (int l = 0; l < LinesV; ++l) __builtin_prefetch(ahead + l * ahead_line, 0, 2);
      ahead += ahead_step;
      MOE_UNROLL
      for (int r = 0; r < RowsV; ++r) {
        V input;
        Ops::broadcast(input, a[r]);
        MOE_UNROLL
        for (int j = 0; j < vectors; ++j) Ops::fma(sum[r][j], input, weights[j]);
      }
      a += RowsV;
      b += line<T>;
    }
    MOE_UNROLL
    for (int r = 0; r < RowsV; ++r) {
      MOE_UNROLL
      for (int j = 0; j < vectors; ++j) {
        T* const c = tile.c + r * tile.c_row + j / per_line * tile.c_line + j % per_line * lanes;
        *reinterpret_cast<Memory*>(c) = sum[r][j];
      }
    }
  }
};

/// The tiles of an instruction set, by their number of rows.
template <class T>
struct Tiles {
  static constexpr int most_rows = 12;
  int rows;   ///< of the largest tile
  int lines;  ///< of every tile
  std::array<void (*)(const Tile<T>&), most_rows> of;

  void operator()(int height, const Tile<T>& tile) const { of[height - 1](tile); }
};

template <class T, class LeafT, std::size_t... I>
constexpr Tiles<T> make_tiles(std::index_sequence<I...>) {
  return {LeafT::tile_rows,
          LeafT::tile_lines,
          {&LeafT::template call<TileKernel<T, int(I) + 1, LeafT::tile_lines>, Tile<T>>...}};
}

template <class T, class LeafT>
const Tiles<T>& tiles() {
  static constexpr Tiles<T> all = make_tiles<T, LeafT>(std::make_index_sequence<LeafT::tile_rows>());
  return all;
}

/// A block of a product: some rows in tiles, times some lines.
template <class T>
struct Block {
  const T* a;           ///< [tile][k][rows of the tile]
  const T* b;           ///< [line][k][element]
  std::int64_t b_line;  ///< elements from one line to the next
  int rows, lines, depth;
  T* c;
  std::int64_t c_row, c_line;
  bool from_zero;
  const char* ahead;  ///< [line][64 bytes of each k], a block to fetch meanwhile, or null
  std::int64_t ahead_line;
};

/// The rows of a chunk, split as evenly as possible into tiles of at most `most` rows.
struct RowTiles {
  int count, height, taller;  ///< `taller` tiles have one row more than `height`

  RowTiles(int rows, int most) : count((rows + most - 1) / most) {
    height = count == 0 ? 0 : rows / count;
    taller = rows - height * count;
  }
  int rows(int tile) const { return height + (tile < taller ? 1 : 0); }
  int begin(int tile) const { return tile * height + (tile < taller ? tile : taller); }
};

/// A panel's block stays in the innermost cache while the tiles go by.
template <class T>
void multiply(const Tiles<T>& tiles, const Block<T>& block) {
  const RowTiles split(block.rows, tiles.rows);
  for (int j = 0; j < block.lines; j += tiles.lines) {
    const bool whole = j + tiles.lines <= block.lines;
    for (int t = 0; t < split.count; ++t) {
      const int first = split.begin(t);
      Tile<T> tile{.a = block.a + std::int64_t(first) * block.depth,
                   .b = block.b + j * block.b_line,
                   .b_line = whole ? block.b_line : 0,
                   .depth = block.depth,
                   .c = block.c + first * block.c_row + j * block.c_line,
                   .c_row = block.c_row,
                   .c_line = whole ? block.c_line : 0,
                   .from_zero = block.from_zero,
                   .ahead = reinterpret_cast<const char*>(block.a),
                   .ahead_line = 0,
                   .ahead_step = 0};
      if (block.ahead != nullptr) {
        tile.ahead_step = Panels::line_bytes / split.count;
        tile.ahead = block.ahead + j * block.ahead_line + std::int64_t(t) * block.depth * tile.ahead_step;
        tile.ahead_line = whole ? block.ahead_line : 0;
      }
      tiles(split.rows(t), tile);
    }
  }
}

}  // namespace moe::detail

#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif
#undef MOE_UNROLL
