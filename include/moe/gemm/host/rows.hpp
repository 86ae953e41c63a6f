#pragma once

#include <moe/core/operands.hpp>
#include <moe/gemm/host/block.hpp>
#include <moe/gemm/host/coded.hpp>
#include <moe/gemm/host/finish.hpp>
#include <moe/gemm/host/pack.hpp>
#include <moe/gemm/host/scratch.hpp>
#include <moe/gemm/host/tasks.hpp>
#include <moe/gemm/host/tile.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace moe::detail {

/// Memory to fetch while something else is computed: of each line `bytes` for each k, the lines `line` bytes apart.
struct Ahead {
  const char* first = nullptr;
  std::int64_t line = 0;
  int bytes = 0;
};

/// Some lines of an expert's matrix, from one depth to another.
struct Piece {
  int expert;
  int first_line, lines;
  int k0, k1;
};

/// The matrix of a forward product: panels are lines already, unless they have to be decoded. The depth runs over the
/// inputs, or over pairs of them.
template <class T, class StorageT>
struct ForwardMatrix {
  Weights<const StorageT> weights;
  CodedLeaf<StorageT> coded;
  static constexpr bool is_coded = !std::is_same_v<T, StorageT>;
  static constexpr bool transposes = false;
  static constexpr int block_depth = detail::block_depth;

  int source_parts() const { return 1; }
  int depth() const { return weights.extents.in / coded.terms; }
  int columns() const { return weights.extents.out; }
  int lines() const { return Panels::panels<StorageT>(weights.extents); }

  /// Lines from `first_line` on, from depth k0 on, as they are stored.
  Lines<StorageT> stored(int expert, int first_line, int k0) const {
    const std::int64_t stride = std::int64_t(weights.extents.in) * line<T>;
    return {weights(expert) + first_line * stride + std::int64_t(k0) * line<T>, stride};
  }
  Lines<T> make(const Leaf<T>&, const Piece& piece, [[maybe_unused]] T* scratch) const {
    if constexpr (is_coded) {
      const std::int64_t to_line = std::int64_t(piece.k1 - piece.k0) * line<T>;
      coded.decode({weights(piece.expert), weights.extents.in, piece.first_line, piece.lines, piece.k0 * coded.terms,
                    piece.k1 * coded.terms, scratch, to_line});
      return {scratch, to_line};
    } else {
      return stored(piece.expert, piece.first_line, piece.k0);
    }
  }
  Ahead ahead(int expert, int first_line, int k0) const {
    const std::int64_t panel =
        Panels::size<StorageT>({1, Panels::line<StorageT>, weights.extents.in}) * sizeof(StorageT);
    const int bytes = int(panel * coded.terms / std::max(weights.extents.in, 1));
    return {reinterpret_cast<const char*>(weights(expert)) + first_line * panel + std::int64_t(k0) * bytes, panel,
            bytes};
  }
};

/// The matrix of a product with its transpose, block by block in scratch. The depth runs over outputs and parts.
template <class T, class StorageT>
struct BackwardMatrix {
  Weights<const StorageT> weights;
  CodedLeaf<StorageT> coded;
  static constexpr bool is_coded = !std::is_same_v<T, StorageT>;
  static constexpr bool transposes = true;
  /// As many panels as lines, so that each line that is computed has a panel to fetch ahead.
  static constexpr int block_depth = group_lines * line<T>;

  int source_parts() const { return weights.extents.parts; }
  int depth() const { return weights.extents.out * weights.extents.parts; }
  int columns() const { return weights.extents.in; }
  int lines() const { return (weights.extents.in + line<T> - 1) / line<T>; }

  Lines<StorageT> stored(int expert, int first_line, int k0) const {
    const std::int64_t stride = std::int64_t(weights.extents.in) * line<T>;
    return {weights(expert) + k0 / line<T> * stride + std::int64_t(first_line) * line<T> * line<T>, stride};
  }
  Lines<T> make(const Leaf<T>& leaf, const Piece& piece, T* scratch) const {
    const int depth = piece.k1 - piece.k0, parts = weights.extents.parts, first_input = piece.first_line * line<T>;
    const std::int64_t to_line = std::int64_t(depth) * line<T>;
    if constexpr (!is_coded) {
      const Lines<T> from = stored(piece.expert, piece.first_line, piece.k0);
      leaf.transpose(
          {from.first, from.stride, parts, weights.extents.in - first_input, depth, piece.lines, to_line, scratch});
    } else {
      T wide[group_lines * line<T> * line<T>];  // one panel's part
      const int inputs = std::min(weights.extents.in - first_input, piece.lines * line<T>);
      for (int k = 0; k < depth; k += line<T>) {
        coded.decode({weights(piece.expert), weights.extents.in, (piece.k0 + k) / line<T>, 1, first_input,
                      first_input + inputs, wide, 0});
        leaf.transpose({wide, 0, parts, inputs, std::min(line<T>, depth - k), piece.lines, to_line,
                        scratch + std::int64_t(k) * line<T>});
      }
    }
    return {scratch, to_line};
  }
  Ahead ahead(int expert, int first_line, int k0) const {
    const Lines<StorageT> lines = stored(expert, first_line, k0);
    return {reinterpret_cast<const char*>(lines.first), lines.stride * std::int64_t(sizeof(T)), Panels::line_bytes};
  }
};

/// One thread's share of `rows times matrix, to the epilogue`: forward and backward_rows.
template <class T, class MatrixT, class SourceT, class ScaleT>
struct MultiplyRows {
  Segments segments;
  RowSource<SourceT, ScaleT> source;
  MatrixT matrix;
  HostScratch scratch;
  Leaf<T> leaf;
  Finisher finisher;

  void operator()(int thread, const void* epilogue) const {
    const ThreadScratch mine = scratch.of(thread);
    TaskList tasks(*scratch.counters, scratch.concurrency, SegmentRows{segments}, segments.count, matrix.lines(),
                   most_rows(mine), group_lines, std::max(leaf.tile_lines, finisher.unit));
    Task before;
    for (Task task = tasks.next(), next; task; before = task, task = next) {
      next = tasks.next();
      if (!before || !task.same_rows(before)) pack(mine, task);
      run(mine, task, next, tasks.group_lines(), epilogue);
    }
    tasks.finish();
  }

 private:
  /// Lines are decoded as the tiles need them. Transposed ones are made for the whole block, as a panel has some of each.
  static constexpr bool few_at_once = MatrixT::is_coded && !MatrixT::transposes;

  /// Rows of a chunk, such that it fits the scratch when packed.
  int most_rows(const ThreadScratch& mine) const {
    const std::int64_t fit = (mine.rows_bytes - 128) / (std::int64_t(matrix.depth()) * std::int64_t(sizeof(T)));
    return int(std::clamp<std::int64_t>(fit, 1, chunk_rows));
  }
  /// One tile reads a panel only once: there is no point in cutting it into blocks.
  bool streams(const Task& task) const {
    const int most = MatrixT::is_coded ? matrix.coded.stream_rows : leaf.tile_rows;
    return !MatrixT::transposes && task.end - task.begin <= most;
  }
  int block_of(const Task& task) const { return streams(task) ? matrix.depth() : MatrixT::block_depth; }

  void pack(const ThreadScratch& mine, const Task& task) const {
    if constexpr (std::is_same_v<SourceT, bfloat16> && MatrixT::is_coded) {
      if (matrix.coded.terms == 2) return pack_as<std::uint32_t>(mine, task);
    }
    pack_as<T>(mine, task);
  }
  template <class PackedT>
  void pack_as(const ThreadScratch& mine, const Task& task) const {
    RowPacker<PackedT, SourceT, ScaleT>{source,
                                        matrix.source_parts(),
                                        segments.begin(task.expert) + task.begin,
                                        task.end - task.begin,
                                        matrix.depth(),
                                        block_of(task),
                                        mine.as<PackedT>(mine.rows)}(leaf.tile_rows);
  }

  void run(const ThreadScratch& mine, const Task& task, const Task& next, int group, const void* epilogue) const {
    const int first_line = task.group * group, lines = std::min(group, matrix.lines() - first_line);
    const int rows = task.end - task.begin, depth = matrix.depth(), block = block_of(task);
    const std::int64_t sums_row = std::int64_t(lines) * line<T>;
    T* const sums = mine.as<T>(mine.sums);
    const Finish<T> results{sums,       sums_row,         task.expert, segments.begin(task.expert) + task.begin,
                            first_line, matrix.columns(), epilogue};
    if (depth == 0) std::fill_n(sums, rows * sums_row, T(0));
    if constexpr (MatrixT::is_coded && !MatrixT::transposes) {
      if (depth > 0 && streams(task)) {
        matrix.coded.stream({mine.as<T>(mine.rows), matrix.weights(task.expert), matrix.weights.extents.in, first_line,
                             lines, rows, sums, sums_row});
        return finisher.take(&results, 0, rows, 0, lines);
      }
    }
    for (int k0 = 0; k0 < depth; k0 += block) {
      const int k1 = std::min(k0 + block, depth);
      const Making making{this, mine.as<T>(mine.lines), {task.expert, first_line, lines, k0, k1}};
      const Ahead ahead = k1 < depth ? ahead_of(task, group, k1) : ahead_of(next, group, 0);
      const bool complete = k1 == depth && !streams(task);
      const Block<T> product{.a = mine.as<T>(mine.rows) + std::int64_t(k0) * rows,
                             .b = few_at_once ? Lines<T>{} : matrix.make(leaf, making.block, making.scratch),
                             .giver = few_at_once ? Giver<T>{&making, &Making::give} : Giver<T>{},
                             .rows = rows,
                             .lines = lines,
                             .depth = k1 - k0,
                             .c = sums,
                             .c_row = sums_row,
                             .c_line = line<T>,
                             .from_zero = k0 == 0,
                             .ahead = ahead.first,
                             .ahead_line = ahead.line,
                             .ahead_bytes = ahead.bytes,
                             .unit = complete ? finisher.unit : 1,
                             .taker = complete ? Taker{&results, finisher.take, finisher.prepare} : Taker{}};
      (streams(task) ? leaf.stream : leaf.multiply)(product);
    }
    if (depth == 0 || streams(task)) finisher.take(&results, 0, rows, 0, lines);
  }

  /// A block whose lines are made as they are needed.
  struct Making {
    const MultiplyRows* product;
    T* scratch;
    Piece block;

    static Lines<T> give(const void* context, int first_line, int lines) {
      const auto& making = *static_cast<const Making*>(context);
      const Piece& b = making.block;
      return making.product->matrix.make(making.product->leaf, {b.expert, b.first_line + first_line, lines, b.k0, b.k1},
                                         making.scratch);
    }
  };

  /// What the tiles fetch while they compute: the next block of the same lines, or the first of the next task.
  Ahead ahead_of([[maybe_unused]] const Task& task, [[maybe_unused]] int group, [[maybe_unused]] int k) const {
    if (!task || (MatrixT::transposes && MatrixT::is_coded)) return {};
    return matrix.ahead(task.expert, task.group * group, k);
  }
};

}  // namespace moe::detail
