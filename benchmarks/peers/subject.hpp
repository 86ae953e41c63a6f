#pragma once

#include "server.hpp"

#include <moe/io/safetensors.hpp>

#include <Kokkos_Core.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

/// What is measured: one layer or model with its weights and its batches of tokens.
namespace peers {

using Exec = Kokkos::DefaultHostExecutionSpace;
template <class T>
using Matrix = Kokkos::View<T**, Kokkos::LayoutRight, Exec::memory_space>;

/// Sizes as the driver gives them.
struct Sizes {
  int experts, hidden, intermediate, top_k;
  std::vector<int> tokens;   ///< how many a batch has
  std::vector<int> batches;  ///< how many of that size there are
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Sizes, experts, hidden, intermediate, top_k, tokens, batches)

/// A batch: of `tokens` tokens, the `index`-th of that size.
struct BatchId {
  int tokens, index;
};

class Subject {
 public:
  virtual ~Subject() = default;
  /// Does it; may return before the device has.
  virtual void run(const std::string& task, const BatchId& batch) = 0;
  /// Adds the results of the last run of that task and batch.
  virtual void results(const std::string& task, const BatchId& batch, moe::SafetensorsWriter& file) = 0;
};

/// {"do": "time", "task", "tokens", "batches": [first index, ...]} -> {"seconds": [...]}. The first run of a turn finds cold caches
/// and sleeping threads: it is not timed.
inline Json time(Subject& subject, const Json& question) {
  const std::string task = question.at("task");
  std::vector<double> seconds;
  bool warm = false;
  for (const int index : question.at("batches")) {
    const auto begin = std::chrono::steady_clock::now();
    subject.run(task, {question.at("tokens"), index});
    Exec().fence();
    if (warm) seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    warm = true;
  }
  return {{"seconds", seconds}};
}

/// {"do": "write", "task", "tokens", "batch", "to"} -> {}: runs, and leaves the results in a safetensors file.
inline Json write(Subject& subject, const Json& question) {
  const std::string task = question.at("task");
  const BatchId batch{question.at("tokens"), question.at("batch")};
  subject.run(task, batch);
  Exec().fence();
  moe::SafetensorsWriter file;
  subject.results(task, batch, file);
  file.write(question.at("to").get<std::string>());
  return Json::object();
}

/// A matrix as floats, under that name.
template <class T>
void add(moe::SafetensorsWriter& file, const std::string& name, const Matrix<T>& matrix) {
  file.add<float>(name, {std::int64_t(matrix.extent(0)), std::int64_t(matrix.extent(1))},
                  [matrix] { return std::vector<float>(matrix.data(), matrix.data() + matrix.size()); });
}

/// Batches [batches, tokens, hidden] of a file, each a matrix of its own.
template <class T>
std::vector<Matrix<T>> read_batches(const moe::SafetensorsReader& file, const std::string& name, int batches,
                                    int tokens, int hidden) {
  const auto values = file.read<float>(name, {batches, tokens, hidden});
  std::vector<Matrix<T>> read;
  for (int b = 0; b < batches; ++b) {
    const Matrix<T> matrix(name, tokens, hidden);
    for (std::size_t i = 0; i < matrix.size(); ++i) matrix.data()[i] = T(values[b * matrix.size() + i]);
    read.push_back(matrix);
  }
  return read;
}

}  // namespace peers
