// Prints a digest of everything that a few models compute: results, gradients, losses, parameters after some steps. Run
// with different numbers of threads, it must print the same.

#include "support/runs.hpp"

#include <Kokkos_Core.hpp>

#include <cstdio>
#include <string>

namespace {

auto print(const std::string& engine) {
  return [engine](const std::string& name, const auto& block) {
    const Kokkos::DefaultExecutionSpace exec;
    for (const int tokens : {1, 33, 222}) {
      for (const auto& [what, hash] : moe_tests::train(exec, block, tokens, tokens + 5, 4)) {
        std::printf("%s %s %d tokens, %s: %016llx\n", engine.c_str(), name.c_str(), tokens, what.c_str(),
                    static_cast<unsigned long long>(hash));
      }
    }
  };
}

}  // namespace

int main(int argc, char** argv) {
  const Kokkos::ScopeGuard guard(argc, argv);
  moe_tests::for_each_model(print("best"));
  print("portable")("softmax", moe_tests::softmax_model(moe::PortableTeams{}));
}
