// The gradients of a layer with its balancers' losses: what several of them make, accumulation, frozen tensors. Each
// balancer by itself is checked by support/balancer_contract.hpp.

#include <moe/moe.hpp>

#include <catch2/catch_test_macros.hpp>
#include <support/gradient_check.hpp>
#include <support/layers.hpp>
#include <support/parameters.hpp>

namespace {

template <class BalancerT, class RouterT = moe::SigmoidTopK<2, moe::Keep, moe::SelectionBias>>
auto layer_with(const BalancerT& balancer, const RouterT& router = {}) {
  return moe::Layer{moe::Shape<>{.experts = 5, .hidden = 7, .intermediate = 9},
                    router,
                    moe::Mlp<moe::Silu>(),
                    balancer,
                    moe::Dropless(),
                    moe::Precision<double>(),
                    moe::PortableTeams()};
}

template <class BalancerT>
void check(const BalancerT& balancer, float loss_scale = 1) {
  const auto layer = layer_with(balancer);
  auto p = layer.parameters(test::Exec());
  test::scatter(p);
  const auto report = test::check_gradients(layer, p, {.tokens = 6, .in = 7, .loss_scale = loss_scale});
  CAPTURE(report.where);
  CHECK(report.worst < 1e-6);
}

}  // namespace

using namespace moe;

TEST_CASE("gradients: no balancer", "[layer][gradients]") { check(NoBalance()); }
TEST_CASE("gradients: a bias without a loss", "[layer][gradients]") { check(LossFreeBias()); }
TEST_CASE("gradients: several balancers, and a scale of their losses", "[layer][gradients]") {
  const Balance balancer{SwitchLoss{.weight = 2.5f},
                         LossFreeBias(),
                         Balance{ZLoss{.weight = 1.5f}, ImportanceLoss{.weight = 3}},
                         GlobalBalance{.weight = 0.5f},
                         SequenceBalance{.weight = 1, .sequence_length = 2},
                         EntropyLoss{.token = 0.5f, .batch = 0.25f}};
  check(balancer);
  check(balancer, 16);  // more, and the differences of the losses would drown those of <dy, y>
  check(balancer, 0);
}

TEST_CASE("losses of scores that are logits are those of their softmax", "[layer][gradients]") {
  const Balance balancer{SwitchLoss(), EntropyLoss{.token = 0.5f, .batch = 0.25f}};
  const auto before = layer_with(balancer, SoftmaxTopK<2, Normalise>());  // the same gates
  const auto after = layer_with(balancer, TopKSoftmax<2>());
  auto p = before.parameters(test::Exec());
  test::scatter(p);
  auto q = after.parameters(test::Exec());
  test::scatter(q);
  const auto x = test::uniform(1, 9 * 7), dy = test::uniform(2, 9 * 7);
  const auto losses = test::forward(before, p, x).losses;
  CHECK(test::error(test::forward(after, q, x).losses, losses) < 1e-13);
  const auto expected = test::gradients(before, p, x, dy);
  for (const auto& [name, values] : test::gradients(after, q, x, dy)) {
    CAPTURE(name);
    CHECK(test::error(values, expected.at(name)) < 1e-12);
  }
}

TEST_CASE("gradients accumulate on those that are there", "[layer][gradients]") {
  const auto layer = layer_with(SwitchLoss());
  auto p = layer.parameters(test::Exec());
  test::scatter(p);
  const test::Exec exec;
  constexpr int tokens = 9;
  auto workspace = layer.workspace(exec, tokens);
  auto tape = layer.tape(exec, tokens);
  const auto x = test::rows<double>(test::uniform(1, tokens * 7), tokens, 7), y = test::rows<double>(tokens, 7);
  const auto dy = test::rows<double>(test::uniform(2, tokens * 7), tokens, 7), dx = test::rows<double>(tokens, 7);
  layer.forward(exec, p, x, y, tape, workspace);

  auto once = layer.gradients(exec), onto = layer.gradients(exec);
  layer.backward(exec, p, tape, dy, dx, once, workspace);
  const auto dx_once = test::to_host(dx);
  test::scatter(onto, 5);
  const auto before = test::values_of(onto);
  layer.backward(exec, p, tape, dy, dx, onto, workspace, {.accumulate = true});
  CHECK(test::same_bits(test::to_host(dx), dx_once));  // dx is overwritten all the same
  const auto added = test::values_of(onto);
  for (const auto& [name, values] : test::values_of(once)) {
    CAPTURE(name);
    std::vector<double> expected = before.at(name);
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += values[i];
    CHECK(test::error(added.at(name), expected) < 1e-14);
  }

  // without it, they are overwritten
  layer.backward(exec, p, tape, dy, dx, onto, workspace);
  CHECK(test::values_of(onto) == test::values_of(once));
}

TEST_CASE("two micro-batches accumulate to the gradient of both", "[layer][gradients]") {
  // without losses, which are means over a batch
  const auto layer = layer_with(NoBalance());
  auto p = layer.parameters(test::Exec());
  test::scatter(p);
  const test::Exec exec;
  constexpr int half = 5;
  const auto x = test::uniform(1, 2 * half * 7), dy = test::uniform(2, 2 * half * 7);
  const auto both = test::gradients(layer, p, x, dy);

  auto workspace = layer.workspace(exec, half);
  auto tape = layer.tape(exec, half);
  auto g = layer.gradients(exec);
  const auto y = test::rows<double>(half, 7), dx = test::rows<double>(half, 7);
  for (const int part : {0, 1}) {
    const auto mine = test::rows<double>(test::slice(x, part * half * 7, half * 7), half, 7);
    layer.forward(exec, p, mine, y, tape, workspace);
    layer.backward(exec, p, tape, test::rows<double>(test::slice(dy, part * half * 7, half * 7), half, 7), dx, g,
                   workspace, {.accumulate = part == 1});
  }
  for (const auto& [name, values] : test::values_of(g)) {
    CAPTURE(name);
    CHECK(test::error(values, both.at(name)) < 1e-14);
  }
}

TEST_CASE("a frozen tensor is skipped, and the others' gradients keep their bits", "[layer][gradients]") {
  const auto layer = layer_with(SwitchLoss());
  auto p = layer.parameters(test::Exec());
  test::scatter(p);
  const test::Exec exec;
  constexpr int tokens = 9;
  auto workspace = layer.workspace(exec, tokens);
  auto tape = layer.tape(exec, tokens);
  const auto x = test::rows<double>(test::uniform(1, tokens * 7), tokens, 7), y = test::rows<double>(tokens, 7);
  const auto dy = test::rows<double>(test::uniform(2, tokens * 7), tokens, 7), dx = test::rows<double>(tokens, 7);
  layer.forward(exec, p, x, y, tape, workspace);
  auto g = layer.gradients(exec);
  layer.backward(exec, p, tape, dy, dx, g, workspace);
  const auto all = test::values_of(g);
  const auto dx_all = test::to_host(dx);

  const auto check = [&](const std::string& frozen, auto&& freeze) {
    CAPTURE(frozen);
    auto some = layer.gradients(exec);
    freeze(some);
    layer.backward(exec, p, tape, dy, dx, some, workspace);
    CHECK(test::same_bits(test::to_host(dx), dx_all));
    const auto values = test::values_of(some);
    CHECK(values.size() == all.size() - 1);
    CHECK(values.count(frozen) == 0);
    for (const auto& [name, each] : values) CHECK(test::same_bits(each, all.at(name)));
  };
  check("experts.up", [](auto& some) { some.experts.in = {}; });
  check("experts.down", [](auto& some) { some.experts.down = {}; });
  check("router.weight", [](auto& some) { some.router.weight = {}; });
}
