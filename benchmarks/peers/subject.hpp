#pragma once

#include "server.hpp"

#include <moe/io/safetensors.hpp>

#include <Kokkos_Core.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
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

/// What to do, in which of several ways if there are several, with which batch of that many tokens.
struct Job {
  std::string task, variant;
  int tokens, batch;
};

class Subject {
 public:
  virtual ~Subject() = default;
  /// Does it; may return before the device has.
  virtual void run(const Job& job) = 0;
  /// Adds the results of that job, the last one that ran.
  virtual void results(const Job& job, moe::SafetensorsWriter& file) = 0;
};

/// {"do": "time", "task", "variant", "tokens", "batches": [index, ...], "warm_up"} -> {"seconds": [...]}. The first run of
/// a turn finds cold caches and sleeping threads: where there is a warm-up, it is that, and not told.
inline Json time(Subject& subject, const Json& question) {
  std::vector<double> seconds;
  for (const int batch : question.at("batches")) {
    const Job job{question.at("task"), question.at("variant"), question.at("tokens"), batch};
    const auto begin = std::chrono::steady_clock::now();
    subject.run(job);
    Exec().fence();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  if (question.at("warm_up")) seconds.erase(seconds.begin());
  return {{"seconds", seconds}};
}

/// {"do": "write", "task", "variant", "tokens", "batch", "to"} -> {}: runs, and leaves the results in a safetensors file.
inline Json write(Subject& subject, const Json& question) {
  const Job job{question.at("task"), question.at("variant"), question.at("tokens"), question.at("batch")};
  subject.run(job);
  Exec().fence();
  moe::SafetensorsWriter file;
  subject.results(job, file);
  file.write(question.at("to").get<std::string>());
  return Json::object();
}

/// Answers until stdin ends: "machine" by what `machine()` says, "open" by what `open(type, sizes, weights, tokens)` makes.
template <class MachineF, class OpenF>
int serve_subjects(const MachineF& machine, const OpenF& open) {
  std::unique_ptr<Subject> subject;
  return serve([&](const Json& question) -> Json {
    const std::string what = question.at("do");
    if (what == "machine") return machine();
    if (what == "open") {
      subject.reset();
      subject = open(question.at("type").get<std::string>(), question.at("sizes").get<Sizes>(),
                     moe::SafetensorsReader(question.at("weights").get<std::string>()),
                     moe::SafetensorsReader(question.at("tokens").get<std::string>()));
      return Json::object();
    }
    if (!subject) throw std::runtime_error("nothing is open");
    if (what == "time") return time(*subject, question);
    if (what == "write") return write(*subject, question);
    throw std::runtime_error("cannot do '" + what + "'");
  });
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
