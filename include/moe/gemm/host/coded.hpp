#pragma once

#include <moe/gemm/host/codec.hpp>
#include <moe/gemm/host/tile.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

MOE_UNROLL_BEGIN
namespace moe::detail {

/// Some panels of a matrix that is not stored in what is computed in.
template <class StorageT>
struct CodedLines {
  const StorageT* matrix;
  int in;  ///< inputs of the matrix
  int first_line, lines;
  int k0, k1;  ///< inputs that are wanted; k0 is a multiple of 16
  float* to;   ///< [line][k or pair of k][element]
  std::int64_t to_line;
};

/// A matrix' weights turned into lines once for a block, to serve all rows of a chunk.
template <class StorageT>
struct DecodeKernel {
  template <class LeafT>
  static MOE_LEAF void run(const CodedLines<StorageT>& block) {
    using C = Codec<StorageT, LeafT>;
    for (int line = 0; line < block.lines; ++line) {
      const char* const panel =
          reinterpret_cast<const char*>(block.matrix) + (block.first_line + line) * C::panel_bytes(block.in);
      float* to = block.to + line * block.to_line;
      for (int k = block.k0; k < block.k1;) {
        const int end = std::min(block.k1, C::group_end(block.in, k));
        typename C::V scale[C::per_line];
        C::scales(panel, block.in, k, scale);
        const char* from = panel + C::step_at(block.in, k);
        for (; k < end; k += C::step, from += C::step_bytes) {
          typename C::Words words[C::per_line];
          C::load(from, words);
          if (k + C::step <= end) {
            MOE_UNROLL
            for (int i = 0; i < C::step; i += LeafT::terms) put<C>(words, i, scale, to);
          } else {
            for (int i = 0; i < end - k; i += LeafT::terms) put<C>(words, i, scale, to);
          }
        }
      }
    }
  }

 private:
  template <class C, class WordsT, class ScaleT>
  static MOE_LEAF void put(const WordsT& words, int i, const ScaleT& scale, float*& to) {
    MOE_UNROLL
    for (int j = 0; j < C::per_line; ++j) {
      typename C::V w;
      C::value(words[j], i, scale[j], w);
      *reinterpret_cast<UnalignedNative<float, C::lanes>*>(to + j * C::lanes) = w;
    }
    to += line<float>;
  }
};

/// So few rows that it is a matter of reading the weights as fast as memory gives them: the whole depth at once, decoded in
/// registers.
template <class StorageT>
struct CodedStream {
  const float* a;  ///< [k or pair of k][row], packed
  const StorageT* matrix;
  int in;
  int first_line, lines;
  int rows;
  float* c;  ///< [row][line][element]
  std::int64_t c_row;
};

template <class StorageT>
struct CodedTile {
  const float* a;
  const char* b;        ///< the first line's panel
  std::int64_t b_line;  ///< bytes to the next one's
  int lines;            ///< that there are: the last one stands in for those that there are not
  int in;
  float* c;
  std::int64_t c_row, c_line;
};

/// The sums of a tile, as Tile's: the chain of each is the same.
template <class StorageT, int RowsV, int LinesV>
struct CodedTileKernel {
  /// How far ahead of the loads memory is asked for.
  static constexpr int distance = 1024;

  template <class LeafT>
  static MOE_LEAF void run(const CodedTile<StorageT>& tile) {
    using C = Codec<StorageT, LeafT>;
    using V = typename C::V;
    constexpr int vectors = LinesV * C::per_line;
    V sum[RowsV][vectors];
    MOE_UNROLL
    for (int r = 0; r < RowsV; ++r) {
      MOE_UNROLL
      for (int j = 0; j < vectors; ++j) sum[r][j] = V{};
    }
    std::int64_t panel[LinesV];
    MOE_UNROLL
    for (int l = 0; l < LinesV; ++l) panel[l] = std::min(l, tile.lines - 1) * tile.b_line;
    const float* a = tile.a;
    for (int k = 0; k < tile.in;) {
      const int end = std::min(tile.in, C::group_end(tile.in, k));
      V scale[LinesV][C::per_line];
      MOE_UNROLL
      for (int l = 0; l < LinesV; ++l) C::scales(tile.b + panel[l], tile.in, k, scale[l]);
      const char* b = tile.b + C::step_at(tile.in, k);
      for (; k < end; k += C::step, b += C::step_bytes) {
        typename C::Words words[LinesV][C::per_line];
        MOE_UNROLL
        for (int l = 0; l < LinesV; ++l) {
          C::load(b + panel[l], words[l]);
          __builtin_prefetch(b + panel[l] + distance);
        }
        if (k + C::step <= end) {
          MOE_UNROLL
          for (int i = 0; i < C::step; i += LeafT::terms) multiply<C>(words, i, scale, a, sum);
        } else {
          for (int i = 0; i < end - k; i += LeafT::terms) multiply<C>(words, i, scale, a, sum);
        }
      }
    }
    MOE_UNROLL
    for (int r = 0; r < RowsV; ++r) {
      MOE_UNROLL
      for (int j = 0; j < vectors; ++j) {
        const int l = std::min(j / C::per_line, tile.lines - 1);
        float* const c = tile.c + r * tile.c_row + l * tile.c_line + j % C::per_line * C::lanes;
        *reinterpret_cast<UnalignedNative<float, C::lanes>*>(c) = sum[r][j];
      }
    }
  }

 private:
  template <class C, class WordsT, class ScaleT, class SumT>
  static MOE_LEAF void multiply(const WordsT& words, int i, const ScaleT& scale, const float*& a, SumT& sum) {
    using V = typename C::V;
    V weights[LinesV * C::per_line];
    MOE_UNROLL
    for (int j = 0; j < LinesV * C::per_line; ++j) {
      C::value(words[j / C::per_line][j % C::per_line], i, scale[j / C::per_line][j % C::per_line], weights[j]);
    }
    MOE_UNROLL
    for (int r = 0; r < RowsV; ++r) {
      V input;
      C::Ops::broadcast(input, a[r]);
      MOE_UNROLL
      for (int j = 0; j < LinesV * C::per_line; ++j) C::Ops::fma(sum[r][j], input, weights[j]);
    }
    a += RowsV;
  }
};

/// The tiles of an instruction set, by their number of rows less one. A chain of multiply-adds waits for itself: few rows
/// take more lines at once.
template <class StorageT, class LeafT>
struct CodedTiles {
  static constexpr int lines_of(int rows) { return rows <= 2 ? 2 * LeafT::tile_lines : LeafT::tile_lines; }
  template <std::size_t... I>
  static constexpr auto make(std::index_sequence<I...>) {
    return std::array{
        &LeafT::template call<CodedTileKernel<StorageT, int(I) + 1, lines_of(I + 1)>, CodedTile<StorageT>>...};
  }
  static constexpr auto tiles = make(std::make_index_sequence<LeafT::coded_rows>());
};

/// Lines that are computed at once are spread over the block, so that each goes on in memory where it ends.
template <class StorageT>
struct CodedStreamKernel {
  template <class LeafT>
  static MOE_LEAF void run(const CodedStream<StorageT>& block) {
    using C = Codec<StorageT, LeafT>;
    using Tiles = CodedTiles<StorageT, LeafT>;
    const int at_once = Tiles::lines_of(block.rows);
    const std::int64_t panel = C::panel_bytes(block.in);
    const int apart = (block.lines + at_once - 1) / at_once;
    for (int j = 0; j < apart; ++j) {
      Tiles::tiles[block.rows - 1]({.a = block.a,
                                    .b = reinterpret_cast<const char*>(block.matrix) + (block.first_line + j) * panel,
                                    .b_line = apart * panel,
                                    .lines = (block.lines - j + apart - 1) / apart,
                                    .in = block.in,
                                    .c = block.c + j * line<float>,
                                    .c_row = block.c_row,
                                    .c_line = apart * line<float>});
    }
  }
};

/// What an instruction set does with weights of a type.
template <class StorageT>
struct CodedLeaf {
  int terms = 1;        ///< inputs that are multiplied at once
  int stream_rows = 0;  ///< the most rows that `stream` takes
  void (*decode)(const CodedLines<StorageT>&) = nullptr;
  void (*stream)(const CodedStream<StorageT>&) = nullptr;
};

template <class StorageT>
struct PickCodedLeaf {
  template <class LeafT>
  CodedLeaf<StorageT> operator()() const {
    return {LeafT::terms, LeafT::coded_rows, &LeafT::template call<DecodeKernel<StorageT>, CodedLines<StorageT>>,
            &LeafT::template call<CodedStreamKernel<StorageT>, CodedStream<StorageT>>};
  }
};

}  // namespace moe::detail
MOE_UNROLL_END
