// Projections of tokens that are stored in two bytes: what they see and give is float's, as if x had come in float.

#include <moe/core/float16.hpp>
#include <moe/router/jitter.hpp>
#include <moe/router/noisy.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <moe/layer/block.hpp>
#include <support/any_router.hpp>
#include <support/compare.hpp>
#include <support/parameters.hpp>
#include <support/sides.hpp>
#include <support/views.hpp>
#include <vector>

namespace {

constexpr int experts = 5, hidden = 13, tokens = 9;

using Router = moe::Router<moe::Jitter<moe::Noisy<moe::LinearProjection<moe::WithBias>>>, moe::Softmax, moe::TopK<2>>;

struct Result {
  test::Decision decision;
  std::vector<double> dx;
  test::Values gradients;
};

/// The router's decision and gradients for x and dx of a storage type.
template <class StorageT>
Result run(const std::vector<double>& x) {
  using Types = moe::Types<test::Exec, moe::Shape<>, moe::Precision<StorageT>, moe::PortableEngine<test::Exec, float>>;
  const test::Exec exec;
  const moe::Shape<> shape{.experts = experts, .hidden = hidden, .intermediate = 1};
  const Router router{.projection = {.epsilon = 0.3}};
  auto p = router.parameters<Types>(moe::ParameterMaker(exec, 1), shape);
  auto g = router.parameters<typename Types::gradients>(moe::GradientMaker(exec), shape);
  test::scatter(p);
  struct Parts {
    moe::Routing<Types> routing;
    typename Router::Tape<Types> tape;
    typename Router::Workspace<Types> workspace;
    moe::Matrix<float, test::Memory> d_gates, d_scores, d_logits;
  };
  const auto make = [&](auto& arena) {
    Parts parts;
    parts.routing = {arena, tokens, 2, experts, true};
    parts.routing.noise = {arena, tokens, experts};
    parts.tape = router.tape<Types>(arena, shape, tokens);
    parts.workspace = router.workspace<Types>(arena, shape, tokens, moe::Use::training);
    parts.d_gates = arena.template matrix<float>(tokens, 2);
    parts.d_scores = arena.template matrix<float>(tokens, moe::padded<float>(experts));
    parts.d_logits = arena.template matrix<float>(tokens, moe::padded<float>(experts));
    return parts;
  };
  const auto parts =
      moe::detail::carve(exec, moe::detail::allocate(exec, "test", moe::detail::measure<test::Exec>(make)), make);
  const moe::Context<Types> context{exec, shape, {}, tokens};
  const auto in = test::rows<StorageT>(x, tokens, hidden), dx = test::rows<StorageT>(tokens, hidden);
  const moe::Matrix<const StorageT, test::Memory> rows = in;
  router.route(context, p, moe::inputs(rows, moe::Step{3}), parts.routing, parts.tape, parts.workspace);
  Result result{{test::to_host(parts.routing.ids),
                 test::cast<double>(test::to_host(parts.routing.gates)),
                 {},
                 test::cast<double>(test::to_host(parts.routing.logits, experts)),
                 {},
                 {}},
                {},
                {}};
  test::assign(parts.d_gates, test::uniform(5, tokens * 2));
  test::assign(parts.d_logits, test::uniform(6, tokens * experts), experts);
  router.backward(context, p, moe::inputs(rows), parts.routing, parts.tape, parts.d_gates, parts.d_scores,
                  parts.d_logits, moe::Matrix<StorageT, test::Memory>(dx), g, moe::Backward{}, parts.workspace);
  result.dx = test::cast<double>(test::to_host(dx));
  result.gradients = test::values_of(g);
  return result;
}

}  // namespace

TEMPLATE_TEST_CASE("jitter and noise of two-byte tokens", "[router][float16]", moe::bfloat16, moe::half) {
  const auto x = test::uniform<TestType>(1, tokens * hidden);  // numbers that both types hold
  const Result narrow = run<TestType>(x), wide = run<float>(x);
  CHECK(narrow.decision.ids == wide.decision.ids);
  CHECK(test::same_bits(narrow.decision.logits, wide.decision.logits));
  CHECK(test::same_bits(narrow.decision.gates, wide.decision.gates));
  CHECK(narrow.gradients == wide.gradients);
  CHECK(narrow.gradients.size() == 3);
  CHECK(test::error(narrow.dx, wide.dx) <
        (std::is_same_v<TestType, moe::half> ? 0.002 : 0.01));  // added up in x's type
}
