#pragma once

#include <moe/gemm/engine.hpp>
#include <moe/gemm/host/tasks.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace moe::detail {

/// The sizes that tasks are cut by: a block is `block_depth` deep, so that a panel's part of it (16 KiB) stays in the
/// innermost cache; a task has at most `chunk_rows` rows and `group_lines` lines.
inline constexpr int block_depth = 256;
inline constexpr int chunk_rows = 192;
inline constexpr int group_lines = 8;

/// Gradients of that size are not kept in the caches.
inline constexpr std::int64_t past_caches_bytes = std::int64_t(32) << 20;

/// A thread's scratch: packed rows, a block of packed lines, and sums.
struct ThreadScratch {
  std::byte* rows;
  std::byte* lines;
  std::byte* sums;
  std::int64_t rows_bytes;

  template <class T>
  T* as(std::byte* bytes) const {
    return reinterpret_cast<T*>(bytes);
  }
};

/// All scratch of an engine. Its size grows with the threads and with the matrices' longer side, not with the number of
/// experts nor with that of rows.
struct HostScratch {
  std::byte* threads = nullptr;
  TaskCounters* counters = nullptr;
  std::int64_t rows_bytes = 0, lines_bytes = 0, sums_bytes = 0;
  int concurrency = 1;

  HostScratch() = default;

  template <class ArenaT>
  HostScratch(ArenaT& arena, int concurrency_, const EngineLimits& limits) : concurrency(concurrency_) {
    constexpr std::int64_t most = std::int64_t(2) << 20;
    const std::int64_t rows = std::clamp(limits.rows, 1, chunk_rows);
    const std::int64_t columns = std::max<std::int64_t>(limits.columns, block_depth);
    // A whole chunk in float where that is not too large, 64 rows in any case, one tile of doubles at the least.
    rows_bytes = std::max(std::min(rows * columns * 4, std::max(most, std::min<std::int64_t>(rows, 64) * columns * 4)),
                          std::min<std::int64_t>(rows, 12) * columns * 8) +
                 128;
    rows_bytes = (rows_bytes + 127) / 128 * 128;
    lines_bytes = group_lines * block_depth * 64;
    sums_bytes = rows * group_lines * 64;
    threads = arena.template take<std::byte>(concurrency * stride());
    counters = arena.template take<TaskCounters>(1);
    if (counters != nullptr) *counters = {0, 0};
  }

  ThreadScratch of(int thread) const {
    std::byte* const begin = threads + thread * stride();
    return {begin, begin + rows_bytes, begin + rows_bytes + lines_bytes, rows_bytes};
  }

 private:
  std::int64_t stride() const { return rows_bytes + lines_bytes + sums_bytes; }
};

}  // namespace moe::detail
