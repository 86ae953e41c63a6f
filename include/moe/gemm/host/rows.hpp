#pragma once

#include <moe/core/operands.hpp>
#include <moe/gemm/host/finish.hpp>
#include <moe/gemm/host/pack.hpp>
#include <moe/gemm/host/scratch.hpp>
#include <moe/gemm/host/tasks.hpp>
#include <moe/gemm/host/tile.hpp>

#include <algorithm>
#include <cstdint>

namespace moe::detail {

struct SegmentRows {
  Segments segments;
  int operator()(int expert) const { return segments.end(expert) - segments.begin(expert); }
};

/// A block of lines in the form that tiles read.
template <class T>
struct Lines {
  const T* first;
  std::int64_t stride;
};

/// The matrix of a forward product: panels are lines already. The depth runs over the inputs.
template <class T>
struct ForwardMatrix {
  Weights<const T> weights;
  static constexpr bool packs = false;
  static constexpr int source_parts(const MatrixExtents&) { return 1; }

  int depth() const { return weights.extents.in; }
  int columns() const { return weights.extents.out; }
  int lines() const { return Panels::panels<T>(weights.extents); }

  Lines<T> block(int expert, int first_line, int, int k0, int, T*) const {
    const std::int64_t stride = std::int64_t(weights.extents.in) * line<T>;
    return {weights(expert) + first_line * stride + std::int64_t(k0) * line<T>, stride};
  }
};

/// The matrix of a product with its transpose, block by block in scratch. The depth runs over outputs and parts.
template <class T>
struct BackwardMatrix {
  Weights<const T> weights;
  static constexpr bool packs = true;
  static constexpr int source_parts(const MatrixExtents& m) { return m.parts; }

  int depth() const { return weights.extents.out * weights.extents.parts; }
  int columns() const { return weights.extents.in; }
  int lines() const { return (weights.extents.in + line<T> - 1) / line<T>; }

  Lines<T> block(int expert, int first_line, int lines, int k0, int k1, T* scratch) const {
    pack_transposed(weights(expert), weights.extents, k0, k1, first_line, lines, scratch);
    return {scratch, std::int64_t(k1 - k0) * line<T>};
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
  const Tiles<T>* tiles;
  void (*finish)(const Finish<T, EpilogueT>&);

  void operator()(int thread) const {
    const ThreadScratch mine = scratch.of(thread);
    T* const packed = mine.as<T>(mine.rows);
    const int depth = matrix.depth();
    TaskList tasks(*scratch.counters, scratch.concurrency, SegmentRows{segments}, segments.count, matrix.lines(),
                   most_rows(mine), group_lines,
                   std::max(tiles->lines, dot_columns / Panels::lanes<T>(EpilogueT::parts)));
    Task before;
    for (Task task = tasks.next(), ahead; task; before = task, task = ahead) {
      ahead = tasks.next();
      const int rows = task.end - task.begin, block = block_of(rows);
      if (!before || !task.same_rows(before)) {
        pack_rows(source, MatrixT::source_parts(matrix.weights.extents), segments.begin(task.expert) + task.begin, rows,
                  tiles->rows, depth, block, packed);
      }
      const int first_line = task.group * tasks.group_lines();
      const int lines = std::min(tasks.group_lines(), matrix.lines() - first_line);
      T* const sums = mine.as<T>(mine.sums);
      for (int k0 = 0; k0 < depth; k0 += block) {
        const int k1 = std::min(k0 + block, depth);
        const Lines<T> b = matrix.block(task.expert, first_line, lines, k0, k1, mine.as<T>(mine.lines));
        Block<T> all{.a = packed + std::int64_t(k0) * rows,
                     .b = b.first,
                     .b_line = b.stride,
                     .rows = rows,
                     .lines = lines,
                     .depth = k1 - k0,
                     .c = sums,
                     .c_row = std::int64_t(lines) * line<T>,
                     .c_line = line<T>,
                     .from_zero = k0 == 0,
                     .ahead = nullptr,
                     .ahead_line = 0};
        fetch_ahead(all, task, ahead, tasks.group_lines(), k1);
        multiply(*tiles, all);
      }
      finish({sums, std::int64_t(lines) * line<T>, task.expert, segments.begin(task.expert) + task.begin, rows,
              first_line, lines, matrix.columns(), &epilogue});
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
  int block_of(int rows) const { return !MatrixT::packs && rows <= tiles->rows ? matrix.depth() : block_depth; }

  /// Has the tiles fetch the next block of the same lines, or the first of the next task.
  void fetch_ahead(Block<T>& block, const Task& task, const Task& next, int group, int k1) const {
    if constexpr (!MatrixT::packs) {
      const bool within = k1 < matrix.depth();
      if (!within && !next) return;
      const auto lines = within ? matrix.block(task.expert, task.group * group, 0, k1, 0, nullptr)
                                : matrix.block(next.expert, next.group * group, 0, 0, 0, nullptr);
      block.ahead = reinterpret_cast<const char*>(lines.first);
      block.ahead_line = lines.stride * std::int64_t(sizeof(T));
    }
  }
};

}  // namespace moe::detail
