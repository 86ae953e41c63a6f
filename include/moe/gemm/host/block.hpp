#pragma once

#include <moe/gemm/host/leaf.hpp>
#include <moe/gemm/host/tile.hpp>
#include <moe/gemm/host/transpose.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace moe::detail {

/// The rows of a chunk, split as evenly as possible into tiles of at most `most` rows.
struct RowTiles {
  int count, height, taller;  ///< `taller` tiles have one row more than `height`

  MOE_LEAF RowTiles(int rows, int most) : count((rows + most - 1) / most) {
    height = count == 0 ? 0 : rows / count;
    taller = rows - height * count;
  }
  MOE_LEAF int rows(int tile) const { return height + (tile < taller ? 1 : 0); }
  MOE_LEAF int begin(int tile) const { return tile * height + (tile < taller ? tile : taller); }
};

/// Who takes the sums of some rows and lines of a block when they are complete; nobody while they are not.
struct Taker {
  using Function = void (*)(const void* context, int first_row, int rows, int first_line, int lines);
  const void* context = nullptr;
  Function take = nullptr;
  Function prepare = nullptr;  ///< a tile's time before, to fetch what `take` will need; may be null
};

/// A block of lines in the form that tiles read.
template <class T>
struct Lines {
  const T* first;
  std::int64_t stride;  ///< elements from one line to the next

  MOE_LEAF Lines from(int line) const { return {first + line * stride, stride}; }
};

/// Who makes a block's lines, a few at a time, where they are not stored in the form that tiles read: they are still in the
/// innermost cache when the tiles read them, and the next few take their place.
template <class T>
struct Giver {
  using Function = Lines<T> (*)(const void* context, int first_line, int lines);
  const void* context = nullptr;
  Function give = nullptr;
};

/// A block of a product: some rows in tiles, times some lines.
template <class T>
struct Block {
  const T* a;      ///< [tile][k][row of the tile]
  Lines<T> b;      ///< [line][k][element]
  Giver<T> giver;  ///< of `multiply`: of b, if there is none
  int rows, lines, depth;
  T* c;
  std::int64_t c_row, c_line;
  bool from_zero;
  bool past_caches = false;  ///< see Tile
  const char* ahead;         ///< [line][ahead_bytes of each k], a block to fetch meanwhile, or null
  std::int64_t ahead_line;
  int ahead_bytes = Panels::line_bytes;
  int unit;     ///< lines that the taker gets together
  Taker taker;  ///< of `multiply`
};

/// The tiles of an instruction set, by their number of rows less one.
template <class T, class LeafT>
struct TileTable {
  template <std::size_t... I>
  static constexpr auto make(std::index_sequence<I...>) {
    return std::array{&LeafT::template call<TileKernel<T, int(I) + 1, LeafT::tile_lines>, Tile<T>>...};
  }
  static constexpr auto tiles = make(std::make_index_sequence<LeafT::tile_rows>());
};

/// What walks over a block is compiled for the instruction set of its tiles as well: older instructions that write parts
/// of registers would have to wait for the sums of the tile before.
template <class T, class LeafT>
MOE_LEAF Tile<T> tile_of(const Block<T>& block, const Lines<T>& b, int first_row, int j) {
  const bool whole = j + LeafT::tile_lines <= block.lines;
  return {.a = block.a + std::int64_t(first_row) * block.depth,
          .b = b.first,
          .b_line = whole ? b.stride : 0,
          .depth = block.depth,
          .c = block.c + first_row * block.c_row + j * block.c_line,
          .c_row = block.c_row,
          .c_line = whole ? block.c_line : 0,
          .from_zero = block.from_zero,
          .past_caches = block.past_caches,
          .ahead = reinterpret_cast<const char*>(block.a),
          .ahead_line = 0,
          .ahead_step = 0};
}

/// A part of a panel stays in the innermost cache while the tiles go by. The taker is called for each tile, so that what
/// it stores leaves while the next tile computes.
template <class T>
struct MultiplyKernel {
  template <class LeafT>
  static MOE_LEAF void run(const Block<T>& block) {
    const RowTiles split(block.rows, LeafT::tile_rows);
    const int unit = std::max(block.unit, LeafT::tile_lines);
    for (int first = 0; first < block.lines; first += unit) {
      const int end = std::min(first + unit, block.lines);
      const Lines<T> b =
          block.giver.give != nullptr ? block.giver.give(block.giver.context, first, end - first) : block.b.from(first);
      for (int t = 0; t < split.count; ++t) {
        const int first_row = split.begin(t), rows = split.rows(t);
        if (block.taker.prepare != nullptr) prepare_next(block, split, t, first, unit);
        for (int j = first; j < end; j += LeafT::tile_lines) {
          Tile<T> tile = tile_of<T, LeafT>(block, b.from(j - first), first_row, j);
          if (block.ahead != nullptr) {
            tile.ahead_step = (block.ahead_bytes + split.count - 1) / split.count;
            tile.ahead = block.ahead + j * block.ahead_line + std::int64_t(t) * block.depth * tile.ahead_step;
            tile.ahead_line = tile.b_line == 0 ? 0 : block.ahead_line;
          }
          TileTable<T, LeafT>::tiles[rows - 1](tile);
        }
        if (block.taker.take != nullptr) block.taker.take(block.taker.context, first_row, rows, first, end - first);
      }
    }
  }

 private:
  static MOE_LEAF void prepare_next(const Block<T>& block, const RowTiles& split, int t, int first, int unit) {
    const bool wraps = t + 1 == split.count;
    const int next = wraps ? 0 : t + 1, line = wraps ? first + unit : first;
    if (line >= block.lines) return;
    block.taker.prepare(block.taker.context, split.begin(next), split.rows(next), line,
                        std::min(unit, block.lines - line));
  }
};

/// The same for so few rows that they are one tile, which is a matter of reading the lines as fast as memory gives them:
/// what comes `distance` further on is fetched. Two lines at once are half of the block apart, so that each goes on in
/// memory where it ends.
template <class T>
struct StreamKernel {
  static constexpr int distance = 64;

  template <class LeafT>
  static MOE_LEAF void run(const Block<T>& block) {
    const int apart = (block.lines + LeafT::tile_lines - 1) / LeafT::tile_lines;
    for (int j = 0; j < apart; ++j) {
      const bool whole = j + (LeafT::tile_lines - 1) * apart < block.lines;
      Tile<T> tile = tile_of<T, LeafT>(block, block.b.from(j), 0, j);
      tile.b_line = whole ? apart * block.b.stride : 0;
      tile.c_line = whole ? apart * block.c_line : 0;
      tile.ahead = reinterpret_cast<const char*>(tile.b + distance * line<T>);
      tile.ahead_line = tile.b_line * std::int64_t(sizeof(T));
      tile.ahead_step = Panels::line_bytes;
      if (j + 1 < apart || block.depth <= distance) {
        TileTable<T, LeafT>::tiles[block.rows - 1](tile);
      } else {
        last<LeafT>(tile, block, apart);
      }
    }
  }

 private:
  /// The end of the last lines fetches the beginning of the next block.
  template <class LeafT>
  static MOE_LEAF void last(Tile<T> tile, const Block<T>& block, int apart) {
    tile.depth = block.depth - distance;
    TileTable<T, LeafT>::tiles[block.rows - 1](tile);
    tile.a += std::int64_t(tile.depth) * block.rows;
    tile.b += std::int64_t(tile.depth) * line<T>;
    tile.depth = distance;
    tile.from_zero = false;
    tile.ahead = block.ahead != nullptr ? block.ahead : reinterpret_cast<const char*>(tile.b);
    tile.ahead_line = apart * block.ahead_line;
    TileTable<T, LeafT>::tiles[block.rows - 1](tile);
  }
};

/// The products of an instruction set.
template <class T>
struct Leaf {
  int tile_rows, tile_lines;
  void (*multiply)(const Block<T>&);
  void (*stream)(const Block<T>&);
  void (*transpose)(const PanelBlock<T>&);
};

template <class T>
struct PickLeaf {
  template <class LeafT>
  Leaf<T> operator()() const {
    return {LeafT::tile_rows, LeafT::tile_lines, &LeafT::template call<MultiplyKernel<T>, Block<T>>,
            &LeafT::template call<StreamKernel<T>, Block<T>>, &LeafT::template call<TransposeKernel<T>, PanelBlock<T>>};
  }
};

}  // namespace moe::detail
