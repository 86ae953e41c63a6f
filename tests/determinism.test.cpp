// The same bits: over repeated runs, alone and in a batch, on one execution space and another. (Over thread counts:
// determinism.digest.cpp.)

#include "support/models.hpp"

#include <Kokkos_Core.hpp>
#include <catch2/catch_test_macros.hpp>

#include <string>

using moe_tests::difference;
using moe_tests::Digests;
using moe_tests::for_each_model;
using moe_tests::ModelKind;

TEST_CASE("the same bits over 50 runs", "[determinism]") {
  for_each_model([](const ModelKind& kind) {
    const Digests first = kind.make(65, 70)->train(2);
    for (int run = 1; run < 50; ++run) {
      INFO(kind.name << ", run " << run);
      REQUIRE(difference(first, kind.make(65, 70)->train(2)) == "");
    }
  });
}

TEST_CASE("training moves every result, and the digests see it", "[determinism]") {
  for_each_model([](const ModelKind& kind) {
    INFO(kind.name);
    const auto model = kind.make(33, 33);
    model->forward();
    model->backward();
    const Digests before = model->digests();
    model->step();
    model->forward();
    model->backward();
    const Digests after = model->digests();
    CHECK(model->is_finite());
    REQUIRE(before.size() == after.size());
    for (std::size_t i = 0; i < before.size(); ++i) {
      const std::string& what = before[i].first;
      const bool matrix = what.ends_with("weight") || what.ends_with("up");
      const bool moves = what == "y" || what == "dx" || (kind.traits.trains_all && matrix);
      INFO(what);
      CHECK((!moves || before[i].second != after[i].second));
    }
  });
}

TEST_CASE("forward for training and for inference give the same bits", "[determinism]") {
  for_each_model([](const ModelKind& kind) {
    if (!kind.traits.infers_as_trained) return;
    INFO(kind.name);
    const auto model = kind.make(33, 40);
    model->infer();
    const auto inferred = model->digest_y();
    model->forward();
    CHECK(model->digest_y() == inferred);
  });
}

TEST_CASE("a larger workspace changes no bit", "[determinism]") {
  for_each_model([](const ModelKind& kind) {
    INFO(kind.name);
    CHECK(difference(kind.make(33, 33)->train(2), kind.make(33, 500)->train(2)) == "");
  });
}

TEST_CASE("each token alone and in a batch", "[determinism]") {
  for_each_model([](const ModelKind& kind) {
    if (!kind.traits.each_token_alone) return;
    for (const int tokens : {2, 33, 222}) {
      const auto batch = kind.make(tokens, tokens), alone = kind.make(1, 1);
      batch->infer();
      for (int t = 0; t < tokens; ++t) {
        alone->take_token(*batch, t);
        alone->infer();
        INFO(kind.name << ", token " << t << " of " << tokens);
        REQUIRE(alone->digest_y() == batch->digest_y(t));
      }
    }
  });
}
