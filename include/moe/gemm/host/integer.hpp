#pragma once

#include <moe/core/quantised_rows.hpp>
#include <moe/gemm/host/block.hpp>
#include <moe/gemm/host/codec.hpp>
#include <moe/gemm/host/finish.hpp>
#include <moe/gemm/host/scratch.hpp>
#include <moe/gemm/host/tasks.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

MOE_UNROLL_BEGIN
namespace moe::detail {

/// Products of rows of a byte with quantised weights: words of four bytes each, added to 32-bit integers for a group of
/// inputs and then, scaled, to floats. A word of weights of four bits is two words of bytes: its even inputs, and its odd
/// ones; rows are packed in that order.
template <class WeightT>
struct ByteWords {
  static constexpr int group = RowCode<WeightT>::group;
  static constexpr int per_word = Code<WeightT>::inputs / 4;  ///< words of bytes in a word of weights

  /// The inputs of the bytes of word w of a group.
  static int input(int w, int byte) { return w / per_word * Code<WeightT>::inputs + w % per_word + byte * per_word; }
  /// Words of a group of which `inputs` are left.
  static MOE_LEAF int words(int inputs) {
    return (std::min(inputs, group) + Code<WeightT>::inputs - 1) / Code<WeightT>::inputs * per_word;
  }
  /// Bytes of a packed row: for each group the scale, what its sum begins with, and its words.
  static std::int64_t row_bytes(int in) { return std::int64_t(RowCode<WeightT>::groups(in)) * (8 + group); }

  /// What is added to integer codes, for the leaf's products.
  template <class LeafT>
  static constexpr int bias = std::is_same_v<WeightT, int8>   ? LeafT::byte_bias
                              : std::is_same_v<WeightT, int4> ? 8
                                                              : 12;

  /// The largest code of four bits as a weight without a sign, and lines whose pairs of products a leaf can add in 16 bits.
  static constexpr int largest = std::is_same_v<WeightT, int4> ? 15 : 24;
  template <class LeafT>
  static constexpr int pair_words = LeafT::has_pairs&& per_word == 2 ? 32767 / (2 * 127 * largest) / per_word : 0;

#if !defined(__CUDA_ARCH__)
  template <class LeafT>
  static MOE_LEAF void decode(const typename LineVectors<LeafT>::Words& words, int i, typename LeafT::Bytes& bytes) {
    const auto word = reinterpret_cast<typename LeafT::Bytes>(words);
    if constexpr (std::is_same_v<WeightT, int8>) {
      bytes = LeafT::byte_bias == 0 ? word : word ^ std::int32_t(0x80808080u);
    } else if constexpr (std::is_same_v<WeightT, int4>) {
      bytes = (word ^ std::int32_t(0x88888888u)) >> 4 * i & 0x0f0f0f0f;
    } else {
      LeafT::lookup_bytes(bytes, word >> 4 * i & 0x0f0f0f0f, twice_e2m1);
    }
  }
  template <class LeafT>
  static MOE_LEAF void dot(typename LeafT::Bytes& sum, const typename LeafT::Bytes& w, const typename LeafT::Bytes& x) {
    if constexpr (std::is_same_v<WeightT, int8>) {
      LeafT::dot_wide(sum, w, x);
    } else if constexpr (pair_words<LeafT> > 0) {
      LeafT::dot_pairs(sum, w, x);
    } else {
      LeafT::dot_narrow(sum, w, x);
    }
  }
  /// Twice the elements of MXFP4, and 12.
  static constexpr std::uint8_t twice_e2m1[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};
#endif
};

/// A row, or rather its inputs, rounded and packed as one of the `rows` of a tile:
///
///     [group][scale of each row][beginning of each row's sum][word][row]
template <class WeightT, class SourceT>
struct RowOfBytes {
  const SourceT* x;
  float factor;
  int in;
  std::uint32_t* to;
  int rows;
};

template <class WeightT, class SourceT>
struct PackBytesKernel {
  using W = ByteWords<WeightT>;

  template <class LeafT>
  static MOE_LEAF void run(const RowOfBytes<WeightT, SourceT>& row) {
    std::uint32_t* to = row.to;
    for (int begin = 0; begin < row.in; begin += W::group) {
      const int count = std::min(W::group, row.in - begin), words = W::words(row.in - begin);
      float x[W::group];
      float largest = 0, poison = 0;
      for (int i = 0; i < count; ++i) x[i] = float(row.x[begin + i]);
      for (int i = 0; i < count; ++i) {
        const float size = x[i] < 0 ? -x[i] : x[i];
        largest = size > largest ? size : largest;
        poison += 0 * x[i];
      }
      const RowScale code(largest, poison);
      std::int8_t q[W::group];
      std::int32_t sum = 0;
      for (int i = 0; i < count; ++i) {
        q[i] = std::int8_t(code(x[i]));
        sum += q[i];
      }
      for (int i = count; i < words * 4; ++i) q[i] = 0;
      const float scale = code.scale * row.factor;
      const std::int32_t first = -W::template bias<LeafT> * sum;
      __builtin_memcpy(to, &scale, sizeof(scale));
      __builtin_memcpy(to + row.rows, &first, sizeof(first));
      to += 2 * row.rows;
      for (int w = 0; w < words; ++w, to += row.rows) {
        std::uint32_t word = 0;
        for (int byte = 0; byte < 4; ++byte) word |= std::uint32_t(std::uint8_t(q[W::input(w, byte)])) << 8 * byte;
        *to = word;
      }
    }
  }
};

template <class WeightT>
struct IntegerTile {
  const std::uint32_t* a;  ///< packed rows
  const char* b;           ///< the first line's panel
  std::int64_t b_line;     ///< bytes to the next one's
  int lines;               ///< that there are: the last one stands in for those that there are not
  int in;
  float* c;
  std::int64_t c_row, c_line;
};

template <class WeightT, int RowsV, int LinesV>
struct IntegerTileKernel {
  static constexpr int distance = 1024;

  template <class LeafT>
  static MOE_LEAF void run(const IntegerTile<WeightT>& tile) {
    using C = Codec<WeightT, LeafT>;
    using W = ByteWords<WeightT>;
    using V = typename C::V;
    using Bytes = typename LeafT::Bytes;
    constexpr int vectors = LinesV * C::per_line;
    V sum[RowsV][vectors];
    MOE_UNROLL
    for (int r = 0; r < RowsV; ++r) {
      MOE_UNROLL
      for (int j = 0; j < vectors; ++j) sum[r][j] = V{};
    }
    const char* panel[LinesV];
    MOE_UNROLL
    for (int l = 0; l < LinesV; ++l) panel[l] = tile.b + std::min(l, tile.lines - 1) * tile.b_line;
    const std::uint32_t* a = tile.a;
    for (int k = 0; k < tile.in; k += W::group) {
      const auto* const scales = reinterpret_cast<const float*>(a);
      const std::uint32_t* const firsts = a + RowsV;
      a += 2 * RowsV;
      Bytes total[RowsV * vectors];
      MOE_UNROLL
      for (int i = 0; i < RowsV * vectors; ++i) broadcast_word<C>(firsts + i / vectors, total[i]);
      constexpr int pairs_in_a_row = W::template pair_words<LeafT>;
      const int words = W::words(tile.in - k) / W::per_word;
      std::int64_t at = C::step_at(tile.in, k);
      if constexpr (pairs_in_a_row == 0) {
        multiply_words<C, LeafT>(panel, at, words, a, total);
      } else {
        for (int left = words; left > 0; left -= pairs_in_a_row) {
          Bytes pairs[RowsV * vectors];
          MOE_UNROLL
          for (int i = 0; i < RowsV * vectors; ++i) pairs[i] = Bytes{};
          multiply_words<C, LeafT>(panel, at, std::min(left, pairs_in_a_row), a, pairs);
          MOE_UNROLL
          for (int i = 0; i < RowsV * vectors; ++i) LeafT::add_pairs(total[i], pairs[i]);
        }
      }
      V scale[LinesV][C::per_line];
      MOE_UNROLL
      for (int l = 0; l < LinesV; ++l) C::scales(panel[l], tile.in, k, scale[l]);
      MOE_UNROLL
      for (int r = 0; r < RowsV; ++r) {
        V of_row;
        C::Ops::broadcast(of_row, scales[r]);
        MOE_UNROLL
        for (int j = 0; j < vectors; ++j) {
          const V number = __builtin_convertvector(total[r * vectors + j], V);
          const V factor = scale[j / C::per_line][j % C::per_line] * Code<WeightT>::unit * of_row;
          C::Ops::fma(sum[r][j], number, factor);
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
  template <class C, class LeafT, class SumsT>
  static MOE_LEAF void multiply_words(const char* const (&panel)[LinesV], std::int64_t& at, int words,
                                      const std::uint32_t*& a, SumsT& sums) {
    for (; words > 0; --words, at += C::step_bytes) {
      typename C::Words line[LinesV][C::per_line];
      MOE_UNROLL
      for (int l = 0; l < LinesV; ++l) {
        C::load(panel[l] + at, line[l]);
        __builtin_prefetch(panel[l] + at + distance);
      }
      multiply<C, LeafT, 0>(line, a, sums);
      if constexpr (ByteWords<WeightT>::per_word == 2) multiply<C, LeafT, 1>(line, a, sums);
    }
  }
  /// Not a loop over I, and one loop over all sums: g++ 12 keeps sums in memory that more loops than two are around.
  template <class C, class LeafT, int I, class LineT, class SumsT>
  static MOE_LEAF void multiply(const LineT& line, const std::uint32_t*& a, SumsT& total) {
    using W = ByteWords<WeightT>;
    constexpr int vectors = LinesV * C::per_line;
    typename LeafT::Bytes weights[vectors];
    MOE_UNROLL
    for (int j = 0; j < vectors; ++j) {
      W::template decode<LeafT>(line[j / C::per_line][j % C::per_line], I, weights[j]);
    }
    MOE_UNROLL
    for (int i = 0; i < RowsV * vectors; ++i) {
      typename LeafT::Bytes x;
      broadcast_word<C>(a + i / vectors, x);
      W::template dot<LeafT>(total[i], weights[i % vectors], x);
    }
    a += RowsV;
  }
  /// As a float: of integers g++ 12 makes an instruction for each lane.
  template <class C, class BytesT>
  static MOE_LEAF void broadcast_word(const std::uint32_t* word, BytesT& all) {
    float bits;
    __builtin_memcpy(&bits, word, sizeof(bits));
    typename C::V floats{};
    C::Ops::broadcast(floats, bits);
    all = reinterpret_cast<BytesT>(floats);
  }
};

/// Rows in tiles, times some lines.
template <class WeightT>
struct IntegerBlock {
  const std::uint32_t* a;  ///< [tile]
  std::int64_t a_row;      ///< words of a packed row
  const WeightT* matrix;
  int in;
  int first_line, lines;
  int rows;
  float* c;
  std::int64_t c_row;
};

/// The tiles of an instruction set, by their number of rows less one. Few rows take more lines at once, which memory likes,
/// where there are registers for the sums of integers and for those of floats.
template <class WeightT, class LeafT>
struct IntegerTiles {
  static constexpr int lines_of(int rows) {
    constexpr int vectors = LeafT::tile_lines * LineVectors<LeafT>::per_line;
    const bool fits = rows <= 2 && 2 * (2 * rows * vectors) <= LeafT::registers / 2;
    return fits ? 2 * LeafT::tile_lines : LeafT::tile_lines;
  }
  template <std::size_t... I>
  static constexpr auto make(std::index_sequence<I...>) {
    return std::array{
        &LeafT::template call<IntegerTileKernel<WeightT, int(I) + 1, lines_of(I + 1)>, IntegerTile<WeightT>>...};
  }
  static constexpr auto tiles = make(std::make_index_sequence<LeafT::integer_rows>());
};

/// Lines that are computed at once are spread over the block, so that each goes on in memory where it ends.
template <class WeightT>
struct IntegerKernel {
  template <class LeafT>
  static MOE_LEAF void run(const IntegerBlock<WeightT>& block) {
    using C = Codec<WeightT, LeafT>;
    using Tiles = IntegerTiles<WeightT, LeafT>;
    const RowTiles split(block.rows, LeafT::integer_rows);
    const int at_once = Tiles::lines_of(split.rows(0));
    const std::int64_t panel = C::panel_bytes(block.in);
    const int apart = (block.lines + at_once - 1) / at_once;
    for (int j = 0; j < apart; ++j) {
      for (int t = 0; t < split.count; ++t) {
        const int rows = split.rows(t), first = split.begin(t);
        // A shorter tile takes as many lines as the others, in two goes where it could take more.
        const int lines = Tiles::lines_of(rows) >= at_once ? at_once : Tiles::lines_of(rows);
        for (int l = 0; l < at_once; l += lines) {
          const int line = j + l * apart;
          if (line >= block.lines) break;
          Tiles::tiles[rows - 1]({.a = block.a + first * block.a_row,
                                  .b = reinterpret_cast<const char*>(block.matrix) + (block.first_line + line) * panel,
                                  .b_line = apart * panel,
                                  .lines = std::min(lines, (block.lines - line + apart - 1) / apart),
                                  .in = block.in,
                                  .c = block.c + first * block.c_row + line * detail::line<float>,
                                  .c_row = block.c_row,
                                  .c_line = apart * detail::line<float>});
        }
      }
    }
  }
};

/// What an instruction set does with them.
template <class WeightT, class SourceT>
struct IntegerLeaf {
  int tile_rows, tile_lines;
  void (*pack)(const RowOfBytes<WeightT, SourceT>&);
  void (*multiply)(const IntegerBlock<WeightT>&);
};

template <class WeightT, class SourceT>
struct PickIntegerLeaf {
  template <class LeafT>
  IntegerLeaf<WeightT, SourceT> operator()() const {
    return {LeafT::integer_rows, LeafT::tile_lines,
            &LeafT::template call<PackBytesKernel<WeightT, SourceT>, RowOfBytes<WeightT, SourceT>>,
            &LeafT::template call<IntegerKernel<WeightT>, IntegerBlock<WeightT>>};
  }
};

/// One thread's share of `rounded rows times matrix, to the epilogue`.
template <class WeightT, class SourceT, class ScaleT>
struct MultiplyIntegers {
  Segments segments;
  RowSource<SourceT, ScaleT> source;
  Weights<const WeightT> weights;
  HostScratch scratch;
  IntegerLeaf<WeightT, SourceT> leaf;
  Finisher finisher;

  void operator()(int thread, const void* epilogue) const {
    const ThreadScratch mine = scratch.of(thread);
    const std::int64_t fit = (mine.rows_bytes - 128) / row_bytes();
    TaskList tasks(*scratch.counters, scratch.concurrency, SegmentRows{segments}, segments.count, lines(),
                   int(std::clamp<std::int64_t>(fit, 1, chunk_rows)), group_lines,
                   std::max(2 * leaf.tile_lines, finisher.unit));
    Task before;
    for (Task task = tasks.next(); task; before = task, task = tasks.next()) {
      if (!before || !task.same_rows(before)) pack(mine, task);
      run(mine, task, tasks.group_lines(), epilogue);
    }
    tasks.finish();
  }

 private:
  std::int64_t row_bytes() const { return ByteWords<WeightT>::row_bytes(weights.extents.in); }
  int lines() const { return Panels::panels<WeightT>(weights.extents); }

  void pack(const ThreadScratch& mine, const Task& task) const {
    const RowTiles split(task.end - task.begin, leaf.tile_rows);
    const int first_row = segments.begin(task.expert) + task.begin;
    for (int t = 0; t < split.count; ++t) {
      for (int r = 0; r < split.rows(t); ++r) {
        const int row = first_row + split.begin(t) + r;
        leaf.pack({source.row(row), float(source.factor(row)), weights.extents.in,
                   mine.as<std::uint32_t>(mine.rows) + split.begin(t) * row_bytes() / 4 + r, split.rows(t)});
      }
    }
  }

  void run(const ThreadScratch& mine, const Task& task, int group, const void* epilogue) const {
    const int first_line = task.group * group, count = std::min(group, lines() - first_line);
    const int rows = task.end - task.begin;
    const std::int64_t sums_row = std::int64_t(count) * line<float>;
    float* const sums = mine.as<float>(mine.sums);
    const Finish<float> results{
        sums,    sums_row, task.expert, segments.begin(task.expert) + task.begin, first_line, weights.extents.out,
        epilogue};
    leaf.multiply({mine.as<std::uint32_t>(mine.rows), row_bytes() / 4, weights(task.expert), weights.extents.in,
                   first_line, count, rows, sums, sums_row});
    finisher.take(&results, 0, rows, 0, count);
  }
};

}  // namespace moe::detail
MOE_UNROLL_END
