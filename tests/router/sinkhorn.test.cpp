#include <moe/router/sinkhorn.hpp>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <reference/router_stages.hpp>
#include <support/any_router.hpp>
#include <support/compare.hpp>
#include <support/router_contract.hpp>
#include <vector>

namespace {

template <class ScoreT>
auto make(int iterations, double tolerance) {
  return [=](int, int k) {
    return moe::Router<test::GivenLogits, ScoreT, moe::Sinkhorn<moe::dynamic>>{
        .select = {.k = k, .iterations = iterations, .tolerance = tolerance}};
  };
}
constexpr test::RouterContract contract{.each_token_alone = false, .in_float = false, .spoiled_too = false};

}  // namespace

TEST_CASE("contract: Sinkhorn with softmax", "[router][contract]") {
  test::router_contract(make<moe::Softmax>(30, 1e-4), reference::sinkhorn(reference::softmax, 30, 1e-4), contract);
}
TEST_CASE("contract: Sinkhorn with sigmoid, of few iterations", "[router][contract]") {
  test::router_contract(make<moe::Sigmoid>(3, 0), reference::sinkhorn(reference::sigmoid, 3, 0), contract);
}

TEST_CASE("Sinkhorn evens the load in training, and follows the scores in inference", "[router][sinkhorn]") {
  const int experts = 4, tokens = 64;
  auto logits = test::uniform(1, tokens * experts);
  for (int t = 0; t < tokens; ++t) logits[t * experts + 2] += 3;  // everybody's favourite
  const auto router = test::any_router<float>(make<moe::Sigmoid>(50, 1e-6)(experts, 1), experts, experts);
  const auto trained = router.route(logits, true).ids, inferred = router.route(logits, false).ids;
  CHECK(inferred == std::vector<int>(tokens, 2));
  for (int e = 0; e < experts; ++e) CHECK(std::count(trained.begin(), trained.end(), e) >= tokens / experts / 2);
}

TEST_CASE("Sinkhorn stops where the plan has converged", "[router][sinkhorn]") {
  auto logits = test::uniform(5, 33 * 8, 4);
  for (int i = 0; i < 33 * 8; ++i) logits[i] += i % 8 < 2 ? 4 : 0;
  const auto ids = [&](int iterations, double tolerance) {
    return test::any_router<double>(make<moe::Softmax>(iterations, tolerance)(8, 2), 8, 8).route(logits, true).ids;
  };
  CHECK(ids(1, 0) != ids(60, 0));
  CHECK(ids(60, 1e9) == ids(1, 0));
  CHECK(ids(60, 1e-9) == ids(60, 0));
}

TEST_CASE("Sinkhorn: padding and tokens of NaN are out of the plan", "[router][sinkhorn]") {
  const int experts = 6, tokens = 30, k = 2;
  const auto router = test::any_router<double>(make<moe::Softmax>(30, 1e-4)(experts, k), experts, experts);
  auto logits = test::contract::spread(4, tokens, experts);
  std::vector<int> real(tokens, 1);
  std::vector<double> rest;
  for (int t = 0; t < tokens; ++t) {
    real[t] = t % 3 == 1 ? 0 : 1;
    if (real[t]) rest.insert(rest.end(), logits.begin() + t * experts, logits.begin() + (t + 1) * experts);
  }
  const auto alone = router.route(rest, true).ids;
  for (int t = 1; t < tokens; t += 6) logits[t * experts + t % 2] = 50;  // padding of any kind
  for (int t = 4; t < tokens; t += 6) logits[t * experts] = test::not_a_number;
  router.pad(real);
  const auto padded = router.route(logits, true).ids;
  for (int t = 0, next = 0; t < tokens; ++t) {
    if (!real[t]) continue;
    CHECK(test::slice(padded, t * k, k) == test::slice(alone, next++ * k, k));
  }
  // a row of NaN that is real: chosen by its scores, and nobody else notices but by the count of tokens
  router.pad({});
  for (int t = 0; t < tokens; ++t) {
    if (!real[t]) logits[t * experts + 1] = test::infinity;
  }
  const auto spoiled = router.route(logits, true);
  CHECK(test::contract::fault(spoiled, router, tokens) == "");
}

TEST_CASE("Sinkhorn: tokens of infinite logits are out of the plan, as those of NaN are", "[router][sinkhorn]") {
  const int experts = 6, tokens = 30, k = 2;
  const auto router = test::any_router<double>(make<moe::Softmax>(30, 1e-4)(experts, k), experts, experts);
  const auto beside = [&](double value) {
    auto logits = test::contract::spread(4, tokens, experts);
    for (int t = 0; t < tokens; ++t)
      logits[t * experts + 2] += 3;  // everybody's favourite: the plan is not the scores'
    for (int t = 0; t < tokens; t += 5) logits[t * experts + 3] = value;
    const auto routing = router.route(logits, true);
    CHECK(test::contract::fault(routing, router, tokens) == "");
    std::vector<int> ids;
    for (int t = 0; t < tokens; ++t) {
      if (t % 5 != 0) ids.insert(ids.end(), routing.ids.begin() + t * k, routing.ids.begin() + (t + 1) * k);
    }
    return ids;
  };
  CHECK(beside(test::infinity) == beside(test::not_a_number));
}

TEST_CASE("Sinkhorn: what it refuses, and its named router", "[router][sinkhorn]") {
  const moe::Shape<> shape{.experts = 4, .hidden = 1, .intermediate = 1};
  CHECK_THROWS_MATCHES(moe::Sinkhorn<5>().check(shape), moe::Error,
                       Catch::Matchers::Message("moe::Sinkhorn: expected k <= 4 (the number of experts), got 5"));
  CHECK_THROWS_MATCHES((moe::Sinkhorn<1>{.iterations = 0}.check(shape)), moe::Error,
                       Catch::Matchers::Message("moe::Sinkhorn: expected iterations >= 1, got 0"));
  STATIC_REQUIRE(std::is_same_v<decltype(moe::SinkhornTopK<1>::score), moe::Sigmoid>);
  STATIC_REQUIRE(std::is_same_v<decltype(moe::SinkhornTopK<2>::score), moe::Softmax>);
}
