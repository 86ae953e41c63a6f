#pragma once

#include <moe/core/operands.hpp>

#include <algorithm>
#include <atomic>

namespace moe::detail {

/// A chunk of one expert's rows times a group of lines.
struct Task {
  int expert = -1;  ///< -1: there are no more
  int chunk = 0, begin = 0, end = 0;
  int group = 0;

  explicit operator bool() const { return expert >= 0; }
  /// Whether both read the same rows.
  bool same_rows(const Task& other) const { return expert == other.expert && chunk == other.chunk; }
};

struct SegmentRows {
  Segments segments;
  int operator()(int expert) const { return segments.end(expert) - segments.begin(expert); }
};

/// The counters by which threads share the tasks of a product. Zero between products: the last thread to finish sees to
/// it, so that a product needs no launch of its own to start with.
struct TaskCounters {
  int next, finished;
};

/// What one thread sees of a product's tasks. They are numbered by expert, then chunk, then group, and handed out in that
/// order through one counter, several at a time while there are many left: so a thread has neighbours, which share
/// their packed rows, and all threads finish together however skewed the experts are. Every thread works the numbering
/// out for itself from the offsets, which only the device knows.
///
/// `RowsT` tells how many rows an expert has to be cut into chunks: rows(expert).
template <class RowsT>
class TaskList {
 public:
  TaskList(TaskCounters& counters, int threads, const RowsT& rows, int experts, int lines, int most_rows,
           int most_lines, int least_lines)
      : counters_(counters),
        threads_(threads),
        rows_(rows),
        experts_(experts),
        lines_(lines),
        chunk_rows_(most_rows),
        group_lines_(most_lines) {
    // Few tasks: smaller ones, for all threads to have some.
    while ((total_ = count()) < 4 * threads && group_lines_ > least_lines) group_lines_ /= 2;
    while (total_ < 4 * threads && chunk_rows_ > 32) {
      chunk_rows_ /= 2;
      total_ = count();
    }
  }

  int group_lines() const { return group_lines_; }

  Task next() {
    if (claimed_ == claimed_end_ && !claim()) return {};
    const int number = claimed_++;
    while (number >= first_ + tasks(expert_)) {
      first_ += tasks(expert_);
      ++expert_;
    }
    const int rows = rows_(expert_), parts = chunks(rows), height = (rows + parts - 1) / parts;
    const int chunk = (number - first_) / groups();
    return {expert_, chunk, std::min(chunk * height, rows), std::min((chunk + 1) * height, rows),
            (number - first_) % groups()};
  }

  /// To be called once by each thread, after its last task.
  void finish() {
    if (std::atomic_ref(counters_.finished).fetch_add(1, std::memory_order_acq_rel) + 1 < threads_) return;
    counters_.next = 0;
    counters_.finished = 0;
  }

 private:
  int groups() const { return (lines_ + group_lines_ - 1) / group_lines_; }
  int chunks(int rows) const { return (rows + chunk_rows_ - 1) / chunk_rows_; }
  int tasks(int expert) const { return chunks(rows_(expert)) * groups(); }
  int count() const {
    int sum = 0;
    for (int e = 0; e < experts_; ++e) sum += tasks(e);
    return sum;
  }

  bool claim() {
    std::atomic_ref next(counters_.next);
    int begin = next.load(std::memory_order_relaxed);
    int take;
    do {
      if (begin >= total_) return false;
      take = std::max(1, (total_ - begin) / (4 * threads_));
    } while (!next.compare_exchange_weak(begin, begin + take, std::memory_order_relaxed));
    claimed_ = begin;
    claimed_end_ = begin + take;
    return true;
  }

  TaskCounters& counters_;
  int threads_;
  RowsT rows_;
  int experts_, lines_, chunk_rows_, group_lines_;
  int total_ = 0;
  int claimed_ = 0, claimed_end_ = 0;
  int expert_ = 0, first_ = 0;  ///< where the last task was, and the number of that expert's first
};

}  // namespace moe::detail
