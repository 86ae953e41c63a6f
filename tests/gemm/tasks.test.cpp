// How threads share the tasks of a product: each task is one thread's, whatever the loads, and the next product starts anew.

#include <moe/gemm/host/tasks.hpp>

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <thread>
#include <vector>

namespace {

using moe::detail::Task;
using moe::detail::TaskCounters;

struct Loads {
  const std::vector<int>* rows;
  int operator()(int expert) const { return (*rows)[expert]; }
};
using TaskList = moe::detail::TaskList<Loads>;

constexpr int lines = 16, most_rows = 8, most_lines = 4, widest = 3000;

/// How often each (expert, row, group of lines) was handed out to some thread.
std::vector<int> handed_out(TaskCounters& counters, const std::vector<int>& rows, int threads) {
  const int experts = int(rows.size());
  std::vector<std::atomic<int>> times(std::size_t(experts) * widest * lines);
  std::vector<std::thread> pool;
  std::atomic<int> waiting = threads;
  for (int i = 0; i < threads; ++i) {
    pool.emplace_back([&] {
      --waiting;
      while (waiting > 0) std::this_thread::yield();  // all at once
      TaskList tasks(counters, threads, {&rows}, experts, lines, most_rows, most_lines, 1);
      while (const Task task = tasks.next()) {
        for (int row = task.begin; row < task.end; ++row) {
          ++times[(std::size_t(task.expert) * widest + row) * lines + task.group];
        }
      }
      tasks.finish();
    });
  }
  for (std::thread& thread : pool) thread.join();
  return {times.begin(), times.end()};
}

void check_each_once(TaskCounters& counters, const std::vector<int>& rows, int threads) {
  const std::vector<int> times = handed_out(counters, rows, threads);
  const TaskList list(counters, threads, {&rows}, int(rows.size()), lines, most_rows, most_lines, 1);
  const int groups = (lines + list.group_lines() - 1) / list.group_lines();
  int wrong = 0;
  for (std::size_t e = 0; e < rows.size(); ++e) {
    for (int row = 0; row < widest; ++row) {
      for (int group = 0; group < lines; ++group) {
        wrong += times[(e * widest + row) * lines + group] != (row < rows[e] && group < groups ? 1 : 0);
      }
    }
  }
  CHECK(wrong == 0);
  CHECK(counters.next == 0);
  CHECK(counters.finished == 0);
}

}  // namespace

TEST_CASE("tasks: each is one thread's, for even, skewed and empty loads", "[gemm][tasks]") {
  TaskCounters counters{0, 0};
  for (const int threads : {1, 2, 4}) {
    CAPTURE(threads);
    check_each_once(counters, {8, 8, 8, 8}, threads);
    check_each_once(counters, {0, 3000, 0, 1, 17, 0}, threads);
    check_each_once(counters, {0, 0}, threads);
    check_each_once(counters, {1}, threads);
  }
}

TEST_CASE("tasks: threads that ask at the same time never get the same one", "[gemm][tasks]") {
  TaskCounters counters{0, 0};
  const std::vector<int> rows(2, 64);
  for (int round = 0; round < 200; ++round) check_each_once(counters, rows, 4);
}
