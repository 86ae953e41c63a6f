// Adapters are trained over a quantised base, which has no gradients and does not move.

#include <support/quantised.hpp>

#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <vector>

namespace {

template <class TensorT>
auto bytes_of(const TensorT& tensor) {
  std::vector<std::uint8_t> bytes;
  for (const auto element : test::to_host(tensor.storage)) bytes.push_back(element.byte);
  return bytes;
}

}  // namespace

TEST_CASE("Lora trains over a quantised expert", "[layer][quantised][lora]") {
  const test::Exec exec;
  constexpr int tokens = 64, hidden = test::coded::hidden;
  const auto layer =
      test::coded::layer(moe::Precision<float, moe::int4>(), moe::BestEngine(), moe::Lora<moe::SwiGlu, 4>{.alpha = 8});
  const auto p = layer.parameters(exec, 1);
  auto g = layer.gradients(exec);
  const auto& base = p.experts.expert;
  CHECK(g.experts.expert.in.empty());
  CHECK(g.experts.expert.down.empty());
  CHECK_FALSE(g.experts.in_a.empty());
  CHECK_FALSE(g.experts.down_b.empty());
  const auto in = bytes_of(base.in), down = bytes_of(base.down);

  const auto x = test::rows<float>(test::uniform(2, tokens * hidden), tokens, hidden);
  const auto target = test::uniform(3, tokens * hidden);
  const auto y = test::rows<float>(tokens, hidden), dx = test::rows<float>(tokens, hidden);
  auto workspace = layer.workspace(exec, tokens);
  auto tape = layer.tape(exec, tokens);
  const moe::AdamW optimiser{.learning_rate = 1e-2, .weight_decay = 0};
  auto state = optimiser.state(exec, p, g);
  const auto step = [&] {
    layer.forward(exec, p, x, y, tape, workspace);
    auto dy = test::cast<double>(test::to_host(y));
    double loss = 0;
    for (int i = 0; i < tokens * hidden; ++i) dy[i] -= target[i], loss += dy[i] * dy[i] / (2 * tokens);
    layer.backward(exec, p, tape, test::rows<float>(dy, tokens, hidden), dx, g, workspace);
    optimiser.step(exec, p, g, state);
    return loss;
  };
  const double first = step();
  double last = first;
  for (int i = 0; i < 60; ++i) last = step();
  CAPTURE(first, last);
  CHECK(last < 0.6 * first);
  CHECK(bytes_of(base.in) == in);
  CHECK(bytes_of(base.down) == down);
}
