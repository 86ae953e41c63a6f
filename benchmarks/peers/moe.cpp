/// Our side of the comparison: answers compare.py.

#include "../machine.hpp"
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
  std::unique_ptr<peers::Subject> subject;
  return peers::serve([&](const Json& question) -> Json {
    const std::string what = question.at("do");
    if (what == "machine") return machine();
    if (what == "open") {
      subject.reset();
      const auto found = subjects.find(question.at("type"));
      if (found == subjects.end()) throw peers::Cannot("moe has no such weights yet");
      const moe::SafetensorsReader weights(question.at("weights").get<std::string>());
      const moe::SafetensorsReader tokens(question.at("tokens").get<std::string>());
      subject = found->second(question.at("sizes").get<peers::Sizes>(), weights, tokens);
      return Json::object();
    }
    if (!subject) throw std::runtime_error("nothing is open");
    if (what == "time") return peers::time(*subject, question);
    if (what == "write") return peers::write(*subject, question);
    throw std::runtime_error("cannot do '" + what + "'");
  });
}
