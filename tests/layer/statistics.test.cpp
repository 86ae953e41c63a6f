// What stands on the tape after forward: losses, load, what was dropped and what was not finite; and what update does.

#include <moe/moe.hpp>

#include <catch2/catch_test_macros.hpp>
#include <reference/balancer.hpp>
#include <string>
#include <support/compare.hpp>
#include <support/layers.hpp>
#include <support/parameters.hpp>
#include <vector>

namespace {

constexpr int experts = 5, hidden = 7;

auto make_layer() {
  return moe::Layer{moe::Shape<>{.experts = experts, .hidden = hidden, .intermediate = 4},
                    moe::SigmoidTopK<2, moe::Keep, moe::SelectionBias>(),
                    moe::SwiGlu(),
                    moe::Balance{moe::SwitchLoss(), moe::LossFreeBias{.rate = 0.25f}},
                    moe::Dropless(),
                    moe::Precision<double>(),
                    moe::BestEngine()};
}

}  // namespace

TEST_CASE("load adds up over micro-batches, and update starts it again", "[layer][statistics]") {
  const auto layer = make_layer();
  auto p = layer.parameters(test::Exec());
  test::scatter(p);
  const test::Exec exec;
  auto workspace = layer.workspace(exec, 20);
  auto tape = layer.tape(exec, 20);
  std::vector<int> total(experts, 0);
  for (const int tokens : {20, 7, 13}) {
    auto values = test::uniform(tokens, tokens * hidden);
    values[0] = test::not_a_number;
    const auto y = test::rows<double>(tokens, hidden);
    layer.forward(exec, p, test::rows<double>(values, tokens, hidden), y, tape, workspace);
    const auto outcome = test::read(layer, tape, tokens);
    const auto mine = reference::load(outcome.ids, experts);
    for (int e = 0; e < experts; ++e) total[e] += mine[e];
    CHECK(outcome.plan_load == mine);
    CHECK(outcome.load == total);
    CHECK(outcome.dropped == 0);
  }
  CHECK(test::to_host(tape.non_finite)[0] == 3);

  const auto before = test::doubles(p.router.selection_bias);
  layer.update(exec, p, tape);
  CHECK(test::doubles(p.router.selection_bias) == reference::moved_bias(before, total, 0.25));
  CHECK(test::all_zero(test::to_host(tape.load)));
  CHECK(test::to_host(tape.non_finite)[0] == 0);

  layer.update(exec, p, tape);  // no load since: nothing to even out
  CHECK(test::doubles(p.router.selection_bias) == reference::moved_bias(before, total, 0.25));
}

TEST_CASE("an inference pass leaves the tape alone", "[layer][statistics]") {
  const auto layer = make_layer();
  auto p = layer.parameters(test::Exec());
  test::scatter(p);
  const test::Exec exec;
  auto workspace = layer.workspace(exec, 9);
  auto tape = layer.tape(exec, 9);
  const auto x = test::rows<double>(test::uniform(1, 9 * hidden), 9, hidden), y = test::rows<double>(9, hidden);
  const auto other = test::rows<double>(test::uniform(2, 9 * hidden), 9, hidden), dx = test::rows<double>(9, hidden);
  auto g = layer.gradients(exec);
  layer.forward(exec, p, x, y, tape, workspace);
  layer.backward(exec, p, tape, y, dx, g, workspace);
  const auto expected = test::values_of(g);
  const auto load = test::to_host(tape.load);
  layer.forward(exec, p, other, dx, workspace);
  CHECK(test::to_host(tape.load) == load);
  layer.backward(exec, p, tape, y, dx, g, workspace);  // still that of the training pass
  CHECK(test::values_of(g) == expected);
}

TEST_CASE("visit shows each mixture of a model and its tape, in order", "[layer][statistics]") {
  const auto mixture = make_layer();
  const moe::Layer narrow{moe::Shape<>{.experts = 3, .hidden = hidden, .intermediate = 4},
                          moe::SoftmaxTopK<1>(),
                          moe::SwiGlu(),
                          moe::NoBalance(),
                          moe::Dropless(),
                          moe::Precision<double>(),
                          moe::BestEngine()};
  const moe::Chain model{moe::Residual{moe::Chain{moe::RmsNorm{hidden, 1e-6, moe::Precision<double>{}}, mixture}},
                         moe::Residual{narrow}};
  const test::Exec exec;
  auto p = model.parameters(exec);
  auto workspace = model.workspace(exec, 6);
  auto tape = model.tape(exec, 6);
  const auto x = test::rows<double>(test::uniform(1, 6 * hidden), 6, hidden), y = test::rows<double>(6, hidden);
  model.forward(exec, p, x, y, tape, workspace);

  std::vector<int> sizes, assignments;
  std::vector<std::string> losses;
  model.visit(tape, [&](const auto& layer, auto& its_tape) {
    sizes.push_back(layer.shape().experts);
    for (const auto& name : layer.loss_names()) losses.push_back(name);
    assignments.push_back(0);
    for (const int each : test::to_host(its_tape.load)) assignments.back() += each;
  });
  CHECK(sizes == std::vector{experts, 3});
  CHECK(losses == std::vector<std::string>{"switch"});
  CHECK(assignments == std::vector{12, 6});

  model.update(exec, p, tape);
  model.visit(tape, [&](const auto&, auto& its_tape) { CHECK(test::all_zero(test::to_host(its_tape.load))); });
}
