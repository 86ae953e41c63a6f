// The same bits: over repeated runs, alone and in a batch, on one execution space and another. (Over thread counts:
// determinism.digest.cpp.)

#include "support/runs.hpp"

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <cstddef>
#include <string>
#include <utility>

namespace {

using moe_tests::difference;
using moe_tests::Digests;

using Exec = Kokkos::DefaultExecutionSpace;

template <class ViewT>
bool all_finite(const ViewT& view) {
  const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), view);
  for (std::size_t i = 0; i < host.size(); ++i) {
    if (!std::isfinite(host.data()[i])) return false;
  }
  return true;
}

/// Forward of each token alone gives the token's bits in the batch.
template <class BlockT>
void check_each_token_alone(const std::string& name, const BlockT& block, int tokens) {
  const Exec exec;
  moe_tests::Run batch(exec, block, tokens, tokens);
  batch.infer();
  exec.fence();
  REQUIRE(all_finite(batch.y));
  moe_tests::Run alone(exec, block, 1, 1);
  for (int t = 0; t < tokens; ++t) {
    const auto row = std::make_pair(t, t + 1);
    Kokkos::deep_copy(exec, alone.x, Kokkos::subview(batch.x, row, Kokkos::ALL));
    alone.infer();
    exec.fence();
    INFO(name << ", token " << t << " of " << tokens);
    REQUIRE(moe_tests::digest(alone.y) == moe_tests::digest(Kokkos::subview(batch.y, row, Kokkos::ALL)));
  }
}

}  // namespace

TEST_CASE("the same bits over 50 runs", "[determinism]") {
  moe_tests::for_each_model([](const std::string& name, const auto& block) {
    const Digests first = moe_tests::train(Exec(), block, 65, 70, 2);
    for (int run = 1; run < 50; ++run) {
      INFO(name << ", run " << run);
      REQUIRE(difference(first, moe_tests::train(Exec(), block, 65, 70, 2)) == "");
    }
  });
}

TEST_CASE("training moves every result, and the digests see it", "[determinism]") {
  moe_tests::for_each_model([](const std::string& name, const auto& block) {
    INFO(name);
    moe_tests::Run run(Exec(), block, 33, 33);
    run.forward();
    run.backward();
    Digests before, after;
    moe_tests::append_digests(before, "", run);
    run.step();
    run.forward();
    run.backward();
    moe_tests::append_digests(after, "", run);
    CHECK(all_finite(run.y));
    CHECK(all_finite(run.dx));
    REQUIRE(before.size() == after.size());
    for (std::size_t i = 0; i < before.size(); ++i) {
      const std::string& what = before[i].first;
      const bool moves = what == "y" || what == "dx" || what.ends_with("weight") || what.ends_with("up");
      INFO(what);
      CHECK((!moves || before[i].second != after[i].second));
    }
  });
}

TEST_CASE("forward for training and for inference give the same bits", "[determinism]") {
  moe_tests::for_each_model([](const std::string& name, const auto& block) {
    INFO(name);
    moe_tests::Run run(Exec(), block, 33, 40);
    run.infer();
    run.exec.fence();
    const auto inferred = moe_tests::digest(run.y);
    run.forward();
    run.exec.fence();
    CHECK(moe_tests::digest(run.y) == inferred);
  });
}

TEST_CASE("a larger workspace changes no bit", "[determinism]") {
  moe_tests::for_each_model([](const std::string& name, const auto& block) {
    INFO(name);
    CHECK(difference(moe_tests::train(Exec(), block, 33, 33, 2), moe_tests::train(Exec(), block, 33, 500, 2)) == "");
  });
}

TEST_CASE("each token alone and in a batch, best engine", "[determinism]") {
  moe_tests::for_each_model([](const std::string& name, const auto& block) {
    for (const int tokens : {2, 33, 222}) check_each_token_alone(name, block, tokens);
  });
}
