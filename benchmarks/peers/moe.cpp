/// Our side of the comparison: answers compare.py.

#include "../support/machine.hpp"
#include "language_model.hpp"
#include "layer.hpp"
#include "server.hpp"
#include "subject.hpp"

#include <Kokkos_Core.hpp>

#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>

namespace {

using peers::Json;

using Make = std::function<std::unique_ptr<peers::Subject>(const peers::Sizes&, const moe::SafetensorsReader& weights,
                                                           const moe::SafetensorsReader& tokens)>;
template <class SubjectT>
Make make() {
  return [](const auto& sizes, const auto& weights, const auto& tokens) {
    return std::make_unique<SubjectT>(sizes, weights, tokens);
  };
}

/// What can be opened. A new precision is a line here, and one of TYPES in compare.py.
const std::map<std::string, Make> subjects{
    {"float32", make<peers::Layer<moe::Precision<float>>>()},
    {"bfloat16", make<peers::Layer<moe::Precision<moe::bfloat16>>>()},
    {"int8", make<peers::Layer<moe::Precision<float, moe::int8, moe::int8>>>()},
    {"int4", make<peers::Layer<moe::Precision<float, moe::int4, moe::int8>>>()},
    {"language model", make<peers::LanguageModel>()},
};

Json machine() {
  const peers::Exec exec;
  return {{"fma_peak", moe::benchmarks::measure_fma_peak<float>(exec)},
          {"read_bandwidth", moe::benchmarks::measure_read_bandwidth(exec)},
          {"threads", exec.concurrency()},
          {"instructions", std::string(moe::name(moe::host_isa()))},
          {"version", moe::version},
          {"compiler", __VERSION__}};
}

}  // namespace

int main(int argc, char** argv) {
  setenv("OMP_PROC_BIND", "false", 0);
  const Kokkos::ScopeGuard kokkos(argc, argv);
  return peers::serve_subjects(machine,
                               [](const std::string& type, const auto& sizes, const auto& weights, const auto& tokens) {
                                 const auto found = subjects.find(type);
                                 if (found == subjects.end())
                                   throw peers::Cannot("moe has no weights of that type yet");
                                 return found->second(sizes, weights, tokens);
                               });
}
