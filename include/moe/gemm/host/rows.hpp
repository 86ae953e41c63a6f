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

/// A block of lines in the form that tiles read.
template <class T>
struct Lines {
  const T* first;
  std::int64_t stride;
};

/// Memory to fetch while something else is computed: of each line `bytes` for each k, the lines `line` bytes apart.
struct Ahead {
  const char* first = nullptr;
  std::int64_t line = 0;
  int bytes = 0;
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
  Lines<T> block(const Leaf<T>&, int expert, int first_line, [[maybe_unused]] int lines, int k0,
                 [[maybe_unused]] int k1, [[maybe_unused]] T* scratch) const {
    if constexpr (is_coded) {
      const std::int64_t to_line = std::int64_t(k1 - k0) * line<T>;
      coded.decode({weights(expert), weights.extents.in, first_line, lines, k0 * coded.terms, k1 * coded.terms, scratch,
                    to_line});
      return {scratch, to_line};
    } else {
      return stored(expert, first_line, k0);
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
  Lines<T> block(const Leaf<T>& leaf, int expert, int first_line, int lines, int k0, int k1, T* scratch) const {
    const int depth = k1 - k0, parts = weights.extents.parts, first_input = first_line * line<T>;
    const std::int64_t to_line = std::int64_t(depth) * line<T>;
    if constexpr (!is_coded) {
      const Lines<T> from = stored(expert, first_line, k0);
      leaf.transpose(
          {from.first, from.stride, parts, weights.extents.in - first_input, depth, lines, to_line, scratch});
    } else {
      T wide[group_lines * line<T> * line<T>];  // one panel's part
      const int inputs = std::min(weights.extents.in - first_input, lines * line<T>);
      for (int k = 0; k < depth; k += line<T>) {
        coded.decode(
            {weights(expert), weights.extents.in, (k0 + k) / line<T>, 1, first_input, first_input + inputs, wide, 0});
        leaf.transpose({wide, 0, parts, inputs, std::min(line<T>, depth - k), lines, to_line,
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
template <class T, class MatrixT, class SourceT, class ScaleT, class EpilogueT>
struct MultiplyRows {
  Segments segments;
  RowSource<SourceT, ScaleT> source;
  MatrixT matrix;
  EpilogueT epilogue;
  HostScratch scratch;
  Leaf<T> leaf;
  Taker::Function finish;

  /// Lines that an epilogue must get together, for its row dots.
  static constexpr int unit = dot_columns / Panels::lanes<T>(EpilogueT::parts);

  void operator()(int thread) const {
    const ThreadScratch mine = scratch.of(thread);
    TaskList tasks(*scratch.counters, scratch.concurrency, SegmentRows{segments}, segments.count, matrix.lines(),
                   most_rows(mine), group_lines, std::max(leaf.tile_lines, unit));
    Task before;
    for (Task task = tasks.next(), next; task; before = task, task = next) {
      next = tasks.next();
      if (!before || !task.same_rows(before)) pack(mine, task);
      run(mine, task, next, tasks.group_lines());
    }
    tasks.finish();
  }

 private:
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

  void run(const ThreadScratch& mine, const Task& task, const Task& next, int group) const {
    const int first_line = task.group * group, lines = std::min(group, matrix.lines() - first_line);
    const int rows = task.end - task.begin, depth = matrix.depth(), block = block_of(task);
    const std::int64_t sums_row = std::int64_t(lines) * line<T>;
    T* const sums = mine.as<T>(mine.sums);
    const Finish<T, EpilogueT> results{
        sums, sums_row, task.expert, segments.begin(task.expert) + task.begin, first_line, matrix.columns(), &epilogue};
    using Kernel = FinishKernel<T, EpilogueT>;
    const Taker taker{&results, finish, Kernel::prepares ? &Kernel::prepare : nullptr};
    if (depth == 0) std::fill_n(sums, rows * sums_row, T(0));
    if constexpr (MatrixT::is_coded && !MatrixT::transposes) {
      if (depth > 0 && streams(task)) {
        matrix.coded.stream({mine.as<T>(mine.rows), matrix.weights(task.expert), matrix.weights.extents.in, first_line,
                             lines, rows, sums, sums_row});
        return finish(&results, 0, rows, 0, lines);
      }
    }
    for (int k0 = 0; k0 < depth; k0 += block) {
      const int k1 = std::min(k0 + block, depth);
      const Lines<T> b = matrix.block(leaf, task.expert, first_line, lines, k0, k1, mine.as<T>(mine.lines));
      const Ahead ahead = k1 < depth ? ahead_of(task, group, k1) : ahead_of(next, group, 0);
      const bool complete = k1 == depth && !streams(task);
      (streams(task) ? leaf.stream : leaf.multiply)({.a = mine.as<T>(mine.rows) + std::int64_t(k0) * rows,
                                                     .b = b.first,
                                                     .b_line = b.stride,
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
                                                     .unit = complete ? unit : 1,
                                                     .taker = complete ? taker : Taker{}});
    }
    if (depth == 0 || streams(task)) finish(&results, 0, rows, 0, lines);
  }

  /// What the tiles fetch while they compute: the next block of the same lines, or the first of the next task.
  Ahead ahead_of([[maybe_unused]] const Task& task, [[maybe_unused]] int group, [[maybe_unused]] int k) const {
    if (!task || (MatrixT::transposes && MatrixT::is_coded)) return {};
    return matrix.ahead(task.expert, task.group * group, k);
  }
};

}  // namespace moe::detail
