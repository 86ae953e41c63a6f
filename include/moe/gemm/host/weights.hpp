#pragma once

#include <moe/core/operands.hpp>
#include <moe/gemm/host/block.hpp>
#include <moe/gemm/host/pack.hpp>
#include <moe/gemm/host/scratch.hpp>
#include <moe/gemm/host/tasks.hpp>
#include <moe/gemm/host/tile.hpp>

#include <algorithm>
#include <cstdint>

namespace moe::detail {

/// In the product that gives dW the inputs take the place of rows; an expert without a matrix has none.
template <class T>
struct MatrixInputs {
  Weights<T> result;
  int operator()(int expert) const { return result(expert) == nullptr ? 0 : result.extents.in; }
};

/// One thread's share of dW (+)= dy^T x. The result has the layout of the weights, whose lines are those of the sums: the
/// tiles write where it belongs.
template <class T, class DeltaT, class SourceT, class ScaleT>
struct AccumulatePanels {
  Segments segments;
  RowSource<DeltaT, ScaleT> delta;
  RowSource<SourceT, ScaleT> source;
  Weights<T> result;
  bool accumulate;
  HostScratch scratch;
  Leaf<T> leaf;

  void operator()(int thread) const {
    const ThreadScratch mine = scratch.of(thread);
    const int lines = Panels::panels<T>(result.extents);
    TaskList tasks(*scratch.counters, scratch.concurrency, MatrixInputs<T>{result}, segments.count, lines,
                   most_inputs(mine), group_lines, leaf.tile_lines);
    Task before;
    for (Task task = tasks.next(); task; before = task, task = tasks.next()) {
      const int first_line = task.group * tasks.group_lines();
      run(mine, task, before && task.same_rows(before), first_line, std::min(tasks.group_lines(), lines - first_line));
    }
    order_stores();
    tasks.finish();
  }

 private:
  /// Inputs of a chunk, such that a block of them fits the scratch when packed.
  int most_inputs(const ThreadScratch& mine) const {
    const int depth = std::clamp(segments.max_rows, 1, block_depth);
    return int((mine.rows_bytes - 128) / (depth * std::int64_t(sizeof(T))));
  }

  void run(const ThreadScratch& mine, const Task& task, bool same_inputs, int first_line, int lines) const {
    const int begin = segments.begin(task.expert), end = segments.end(task.expert);
    const int inputs = task.end - task.begin;
    const std::int64_t panel = std::int64_t(result.extents.in) * line<T>;
    T* const c = result(task.expert) + first_line * panel + std::int64_t(task.begin) * line<T>;
    if (begin == end && !accumulate) {
      for (int j = 0; j < lines; ++j) std::fill_n(c + j * panel, std::int64_t(inputs) * line<T>, T(0));
    }
    T* const packed = mine.as<T>(mine.rows);
    T* const deltas = mine.as<T>(mine.lines);
    for (int r0 = begin; r0 < end; r0 += block_depth) {
      const int rows = std::min(block_depth, end - r0);
      if (!same_inputs || end - begin > block_depth) {
        pack_columns(source, r0, rows, task.begin, inputs, leaf.tile_rows, packed);
      }
      pack_deltas(delta, result.extents, r0, rows, first_line, lines, deltas);
      leaf.multiply({.a = packed,
                     .b = {deltas, std::int64_t(rows) * line<T>},
                     .giver = {},
                     .rows = inputs,
                     .lines = lines,
                     .depth = rows,
                     .c = c,
                     .c_row = line<T>,
                     .c_line = panel,
                     .from_zero = r0 == begin && !accumulate,
                     .past_caches = !accumulate && end - begin <= block_depth && leaves_caches(c),
                     .ahead = nullptr,
                     .ahead_line = 0,
                     .unit = 1,
                     .taker = {}});
    }
    clear_padding(c, panel, inputs, first_line, lines);
  }

  /// Whether the result is too large to be found in a cache by who reads it next: then it need not go there, and memory is
  /// not read only to be overwritten.
  bool leaves_caches(const T* c) const {
    const std::int64_t bytes = segments.count * Panels::size<T>(result.extents) * std::int64_t(sizeof(T));
    return bytes >= past_caches_bytes && reinterpret_cast<std::uintptr_t>(c) % Panels::line_bytes == 0;
  }

  /// The padding of the last panel has zeros for dy, which times infinity or NaN are not zero.
  void clear_padding(T* c, std::int64_t panel, int inputs, int first_line, int lines) const {
    const int lanes = Panels::lanes<T>(result.extents.parts);
    const int used = result.extents.out - (first_line + lines - 1) * lanes;
    if (used >= lanes) return;
    for (int d = 0; d < inputs; ++d) {
      T* const last = c + (lines - 1) * panel + std::int64_t(d) * line<T>;
      for (int p = 0; p < result.extents.parts; ++p) std::fill(last + p * lanes + used, last + (p + 1) * lanes, T(0));
    }
  }
};

}  // namespace moe::detail
