#include <moe/dispatch/dropless.hpp>
#include <moe/expert/null.hpp>
#include <moe/layer/layer.hpp>
#include <moe/router/jitter.hpp>
#include <moe/router/masked.hpp>
#include <moe/router/router.hpp>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <cmath>
#include <set>
#include <support/any_router.hpp>
#include <support/compare.hpp>
#include <support/router_contract.hpp>
#include <support/sides.hpp>
#include <vector>

namespace {

using Plain = moe::SoftmaxTopK<2>;
using Jittered = moe::Router<moe::Jitter<>, moe::Softmax, moe::TopK<2>>;

/// Experts see one column each: the logits are what the projection sees of x.
constexpr int width = 7;
template <class T>
std::vector<double> seen(const Jittered& router, const std::vector<double>& x, const test::WithIds& with,
                         bool training = true) {
  const auto any = test::any_router<T>(router, width, width, with);
  std::vector<double> identity(width * width, 0.0);
  for (int i = 0; i < width; ++i) identity[i * width + i] = 1;
  any.assign("weight", identity);
  return any.route(x, training).logits;
}

std::vector<int> numbered(int count, int from = 0) {
  std::vector<int> ids(count);
  for (int t = 0; t < count; ++t) ids[t] = from + t;
  return ids;
}

}  // namespace

TEST_CASE("Jitter: each element times a number around one, in training only", "[router][jitter]") {
  const int tokens = 500;
  const std::vector<double> ones(tokens * width, 1.0);
  const test::WithIds with{numbered(tokens)};
  CHECK(seen<float>(Jittered(), ones, with, false) == ones);
  for (const double epsilon : {0.01, 0.5}) {
    CAPTURE(epsilon);
    const auto u = seen<double>(Jittered{.projection = {.epsilon = epsilon}}, ones, with);
    double mean = 0, square = 0, neighbours = 0;
    for (std::size_t i = 0; i < u.size(); ++i) {
      const double v = (u[i] - 1) / epsilon;
      REQUIRE((v >= -1 && v < 1));
      mean += v / double(u.size());
      square += v * v / double(u.size());
      if (i > 0) neighbours += v * (u[i - 1] - 1) / epsilon / double(u.size());
    }
    CHECK(std::abs(mean) < 0.04);  // four times the standard deviation
    CHECK(std::abs(square - 1.0 / 3) < 0.02);
    CHECK(std::abs(neighbours) < 0.03);
    CHECK(std::set<double>(u.begin(), u.end()).size() > u.size() - 5);
  }
  CHECK(seen<float>(Jittered{.projection = {.epsilon = 0}}, ones, with) == ones);
}

TEST_CASE("Jitter: the numbers depend on seed, step and the token's id alone", "[router][jitter]") {
  const auto x = test::uniform<float>(1, 9 * width);
  const std::vector<int> ids{4, 4, 1000000, -3, 8, 0, 1, 2, 3};
  const auto here = seen<float>(Jittered(), x, {ids});
  CHECK(here == seen<float>(Jittered(), x, {ids}));
  CHECK(here != seen<float>(Jittered(), x, {ids, 2}));
  CHECK(here != seen<float>(Jittered{.projection = {.seed = 1}}, x, {ids}));
  // another order and other neighbours
  const std::vector<double> last = test::slice(x, 8 * width, width);
  CHECK(seen<float>(Jittered(), last, {{3}}) == test::slice(here, 8 * width, width));
  const std::vector<double> same(2 * width, 1.0);
  const auto twins = seen<float>(Jittered(), same, {{4, 4}});
  CHECK(test::slice(twins, 0, width) == test::slice(twins, width, width));

  // without ids it is the place
  const auto by_place = test::any_router<float>(Jittered(), width, width, test::WithStep{});
  const auto by_id = test::any_router<float>(Jittered(), width, width, test::WithIds{numbered(9)});
  CHECK(by_place.route(x, true).logits == by_id.route(x, true).logits);
}

TEST_CASE("Jitter: inference is that of the projection, and needs no step", "[router][jitter]") {
  const auto x = test::uniform<float>(1, 9 * width);
  const auto plain = test::any_router<float>(Plain(), 5, width).route(x, false);
  // (x alone would not compile in training)
  CHECK(test::contract::same(plain, test::any_router<float>(Jittered(), 5, width, test::WithStep{}).route(x, false)));
  STATIC_REQUIRE(Jittered::needs_sides);
  STATIC_REQUIRE_FALSE(Plain::needs_sides);
  STATIC_REQUIRE_FALSE(Jittered::draws_noise);
}

TEST_CASE("Jitter: a workspace for inference has no room for what only training needs", "[router][jitter]") {
  const auto bytes = [](const auto& router, moe::Use use) {
    const moe::Layer layer{moe::Shape<>{.experts = 5, .hidden = 64, .intermediate = 8}, router, moe::Null()};
    return layer.workspace_bytes(test::Exec(), 300, use);
  };
  using Masked = moe::Router<moe::Masked<moe::Jitter<>>, moe::Softmax, moe::TopK<2>>;
  for (const std::size_t jittered : {bytes(Jittered(), moe::Use::inference), bytes(Masked(), moe::Use::inference)}) {
    CHECK(jittered == bytes(Plain(), moe::Use::inference));
  }
  CHECK(bytes(Jittered(), moe::Use::training) >= bytes(Plain(), moe::Use::training) + 2 * 300 * 64 * sizeof(float));
}

TEST_CASE("Jitter: gradients by x and the weights", "[router][jitter]") {
  using Biased = moe::Router<moe::Jitter<moe::LinearProjection<moe::WithBias>>, moe::Sigmoid, moe::TopK<2>>;
  CHECK(test::contract::gradient_error(
            test::any_router<double>(Jittered{.projection = {.epsilon = 0.3}}, 5, width, test::WithStep{}), 4, 1) <
        1e-7);
  CHECK(test::contract::gradient_error(
            test::any_router<double>(Biased{.projection = {.epsilon = 0.3}}, 5, width, test::WithStep{}), 4, 1) < 1e-7);
}

TEST_CASE("Jitter: what it refuses", "[router][jitter]") {
  const moe::Shape<> shape{.experts = 4, .hidden = 3, .intermediate = 1};
  CHECK_NOTHROW(Jittered().check(shape));
  CHECK_THROWS_MATCHES(Jittered{.projection = {.epsilon = 1}}.check(shape), moe::Error,
                       Catch::Matchers::Message("moe::Jitter: expected 0 <= epsilon < 1"));
  const auto few = test::any_router<float>(Jittered(), 4, width, test::WithIds{{1, 2, 3}});
  CHECK_NOTHROW(few.route(test::uniform(1, 3 * width), true));
}
