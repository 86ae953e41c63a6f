// The same bits on one execution space and on another of the same machine.

#include "support/model_layers.hpp"
#include "support/runs.hpp"

#include <catch2/catch_test_macros.hpp>

#include <string>

#if defined(KOKKOS_ENABLE_SERIAL) && defined(KOKKOS_ENABLE_OPENMP)

TEST_CASE("the same bits on Serial and on OpenMP", "[determinism]") {
  const auto check = [](const std::string& name, const auto& block) {
    for (const int tokens : {1, 33, 222}) {
      INFO(name << ", " << tokens << " tokens");
      moe_tests::Run serial(Kokkos::Serial(), block, tokens, tokens);
      moe_tests::Run openmp(Kokkos::OpenMP(), block, tokens, tokens);
      CHECK(moe_tests::difference(moe_tests::train(serial, 2), moe_tests::train(openmp, 2)) == "");
    }
  };
  check("softmax", moe_tests::softmax_model(moe::BestEngine{}));
  check("biased", moe_tests::biased_model(moe::BestEngine{}));
}

#endif
