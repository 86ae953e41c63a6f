// What the host refuses, and the sentence it says.

#include <moe/moe.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <string>
#include <support/compare.hpp>
#include <support/views.hpp>
#include <utility>

using Catch::Matchers::Message;

namespace {

constexpr int hidden = 4;

template <class RouterT = moe::SoftmaxTopK<2>>
auto make_layer(const moe::Shape<>& shape = {.experts = 3, .hidden = hidden, .intermediate = 5},
                const RouterT& router = {}) {
  return moe::Layer{shape, router, moe::SwiGlu(), moe::SwitchLoss()};
}

auto view(int tokens, int columns) { return test::rows<float>(tokens, columns); }

}  // namespace

TEST_CASE("errors: sizes that are not positive", "[layer][errors]") {
  CHECK_THROWS_MATCHES(make_layer({.experts = 0, .hidden = 4, .intermediate = 5}), moe::Error,
                       Message("moe::Shape: expected experts >= 1, got 0"));
  CHECK_THROWS_MATCHES(make_layer({.experts = 3, .hidden = -4, .intermediate = 5}), moe::Error,
                       Message("moe::Shape: expected hidden >= 1, got -4"));
  CHECK_THROWS_MATCHES(make_layer({.experts = 3, .hidden = 4, .intermediate = 0}), moe::Error,
                       Message("moe::Shape: expected intermediate >= 1, got 0"));
  CHECK_THROWS_MATCHES(make_layer({.experts = 3, .hidden = 4}), moe::Error,
                       Message("moe::Shape: expected intermediate >= 1, got 0"));  // one that was left out
}

TEST_CASE("errors: a choice among too few experts", "[layer][errors]") {
  using Dynamic = moe::SoftmaxTopK<moe::dynamic>;
  const moe::Shape<> shape{.experts = 3, .hidden = 4, .intermediate = 5};
  CHECK_THROWS_MATCHES(make_layer(shape, Dynamic{.select = {.k = 4}}), moe::Error,
                       Message("moe::TopK: expected k <= 3 (the number of experts), got 4"));
  CHECK_THROWS_MATCHES(make_layer(shape, Dynamic()), moe::Error, Message("moe::TopK: expected k >= 1, got 0"));
  CHECK_THROWS_MATCHES(make_layer(shape, moe::SoftmaxTopK<4>()), moe::Error,
                       Message("moe::TopK: expected k <= 3 (the number of experts), got 4"));
  CHECK_NOTHROW(make_layer(shape, Dynamic{.select = {.k = 3}}));
}

TEST_CASE("errors: an expert that cannot do with the sizes, when a block is made of it", "[layer][errors]") {
  const moe::Shape<> shape{.experts = 3, .hidden = hidden, .intermediate = 5};
  const moe::Mixed two{moe::Copy(), moe::of(1, moe::SwiGlu())};
  const moe::Mixed thin{moe::of(3, moe::SwiGlu(), 0)};
  const moe::Lora<moe::SwiGlu> rankless;
  const auto of_two = Message("moe::Mixed: expected experts of all kinds (experts of the shape) = 3, got 2");
  const auto of_rank = Message("moe::Lora: expected rank >= 1, got 0");
  CHECK_THROWS_MATCHES((moe::Layer{shape, moe::SoftmaxTopK<2>(), two}), moe::Error, of_two);
  CHECK_THROWS_MATCHES((moe::Layer{shape, moe::SoftmaxTopK<2>(), thin}), moe::Error,
                       Message("moe::Mixed: expected intermediate of a kind >= 1, got 0"));
  CHECK_THROWS_MATCHES((moe::Layer{shape, moe::SoftmaxTopK<2>(), rankless}), moe::Error, of_rank);
  CHECK_THROWS_MATCHES((moe::Layer{shape, moe::SoftmaxTopK<2>(), moe::Mixed{moe::of(3, rankless)}}), moe::Error,
                       of_rank);
  CHECK_THROWS_MATCHES((moe::SoftMixture{shape, two}), moe::Error, of_two);
  CHECK_THROWS_MATCHES((moe::SoftMixture{shape, rankless}), moe::Error, of_rank);
  CHECK_THROWS_MATCHES((moe::Shared{make_layer(), rankless, 5}), moe::Error, of_rank);
  CHECK_NOTHROW(moe::Layer{shape, moe::SoftmaxTopK<2>(), moe::Lora<moe::SwiGlu>{.rank = 2}});
}

TEST_CASE("errors: a number of tokens that is negative", "[layer][errors]") {
  const auto layer = make_layer();
  const test::Exec exec;
  CHECK_THROWS_MATCHES(layer.workspace(exec, -1), moe::Error,
                       Message("moe::workspace: expected max_tokens >= 0, got -1"));
  CHECK_THROWS_MATCHES(layer.workspace_bytes(exec, -1), moe::Error,
                       Message("moe::workspace: expected max_tokens >= 0, got -1"));
  CHECK_THROWS_MATCHES(layer.tape(exec, -3), moe::Error, Message("moe::tape: expected max_tokens >= 0, got -3"));
  CHECK_THROWS_MATCHES(layer.tape_bytes(exec, -3), moe::Error, Message("moe::tape: expected max_tokens >= 0, got -3"));
}

TEST_CASE("errors: views of a wrong shape", "[layer][errors]") {
  const auto layer = make_layer();
  const test::Exec exec;
  const auto p = layer.parameters(exec);
  const auto g = layer.gradients(exec);
  auto workspace = layer.workspace(exec, 8);
  auto tape = layer.tape(exec, 6);

  CHECK_THROWS_MATCHES(layer.forward(exec, p, view(5, 3), view(5, 4), workspace), moe::Error,
                       Message("moe::Layer::forward: expected columns of x = 4, got 3"));
  CHECK_THROWS_MATCHES(
      layer.forward(exec, p, view(9, 4), view(9, 4), workspace), moe::Error,
      Message("moe::Layer::forward: expected rows of x (max_tokens of the workspace or tape) <= 8, got 9"));
  CHECK_THROWS_MATCHES(
      layer.forward(exec, p, view(7, 4), view(7, 4), tape, workspace), moe::Error,
      Message("moe::Layer::forward: expected rows of x (max_tokens of the workspace or tape) <= 6, got 7"));
  CHECK_THROWS_MATCHES(layer.forward(exec, p, view(5, 4), view(4, 4), workspace), moe::Error,
                       Message("moe::Layer::forward, y: expected rows = 5, got 4"));
  CHECK_THROWS_MATCHES(layer.forward(exec, p, view(5, 4), view(5, 5), tape, workspace), moe::Error,
                       Message("moe::Layer::forward, y: expected columns = 4, got 5"));

  layer.forward(exec, p, view(5, 4), view(5, 4), tape, workspace);
  CHECK_THROWS_MATCHES(layer.backward(exec, p, tape, view(6, 4), view(5, 4), g, workspace), moe::Error,
                       Message("moe::Layer::backward, dy: expected rows = 5, got 6"));
  CHECK_THROWS_MATCHES(layer.backward(exec, p, tape, view(5, 4), view(5, 3), g, workspace), moe::Error,
                       Message("moe::Layer::backward, dx: expected columns = 4, got 3"));
}

TEST_CASE("errors: backward on a workspace that is too small, or made for inference", "[layer][errors]") {
  const auto layer = make_layer();
  const test::Exec exec;
  const auto p = layer.parameters(exec);
  const auto g = layer.gradients(exec);
  auto workspace = layer.workspace(exec, 8), small = layer.workspace(exec, 4);
  auto inference = layer.workspace(exec, 8, moe::Use::inference);
  auto tape = layer.tape(exec, 8);
  layer.forward(exec, p, view(8, 4), view(8, 4), tape, workspace);
  CHECK_THROWS_MATCHES(layer.backward(exec, p, tape, view(8, 4), view(8, 4), g, small), moe::Error,
                       Message("moe::Layer::backward: expected tokens (max_tokens of the workspace) <= 4, got 8"));
  CHECK_THROWS_MATCHES(
      layer.backward(exec, p, tape, view(8, 4), view(8, 4), g, inference), moe::Error,
      Message("moe::Layer::backward: the workspace was made for inference; make it with Use::training"));
  CHECK_THROWS_MATCHES(
      layer.forward(exec, p, view(8, 4), view(8, 4), tape, inference), moe::Error,
      Message("moe::Layer::forward: the workspace was made for inference; make it with Use::training"));
}

TEST_CASE("errors: backward on a tape without a forward pass", "[layer][errors]") {
  const test::Exec exec;
  const auto refuses = [&](const auto& block, const std::string& name) {
    const auto p = block.parameters(exec), g = block.gradients(exec);
    auto workspace = block.workspace(exec, 8);
    auto tape = block.tape(exec, 8);
    const std::string sentence = "moe::" + name +
                                 "::backward: the tape holds no forward pass; call forward(exec, parameters, x, y, "
                                 "tape, workspace) first";
    CHECK_THROWS_MATCHES(block.backward(exec, p, tape, view(8, 4), view(8, 4), g, workspace), moe::Error,
                         Message(sentence));
    CHECK_THROWS_MATCHES(block.backward(exec, p, tape, view(0, 4), view(0, 4), g, workspace), moe::Error,
                         Message(sentence));
    block.forward(exec, p, view(0, 4), view(0, 4), tape, workspace);
    CHECK_NOTHROW(block.backward(exec, p, tape, view(0, 4), view(0, 4), g, workspace));
  };
  refuses(make_layer(), "Layer");
  refuses(moe::RmsNorm(4), "RmsNorm");
  refuses(moe::Linear(4, 4), "Linear");
  refuses(moe::Residual{make_layer()}, "Layer");
}

TEST_CASE("errors: memory of the caller's that is too small", "[layer][errors]") {
  const auto layer = make_layer();
  const test::Exec exec;
  using Bytes = Kokkos::View<std::byte*, test::Memory>;
  const auto too_small = Catch::Matchers::MessageMatches(
      Catch::Matchers::ContainsSubstring("moe::Arena: expected bytes of memory (workspace_bytes or tape_bytes) >= "));
  for (const std::size_t part : {2, 10}) {
    CHECK_THROWS_MATCHES(layer.workspace(exec, 8, Bytes("memory", layer.workspace_bytes(exec, 8) / part)), moe::Error,
                         too_small);
    CHECK_THROWS_MATCHES(layer.tape(exec, 8, Bytes("memory", layer.tape_bytes(exec, 8) / part)), moe::Error, too_small);
  }
  CHECK_THROWS_MATCHES(layer.workspace(exec, 8, Bytes()), moe::Error,
                       Message("moe::workspace: the memory is smaller than workspace_bytes or tape_bytes"));
  CHECK_THROWS_MATCHES(layer.tape(exec, 8, Bytes()), moe::Error,
                       Message("moe::workspace: the memory is smaller than workspace_bytes or tape_bytes"));
}

TEST_CASE("errors: a routing or plan for another number of tokens", "[layer][errors]") {
  const auto layer = make_layer();
  const test::Exec exec;
  const auto p = layer.parameters(exec);
  auto workspace = layer.workspace(exec, 8);
  const auto five = layer.make_routing(exec, 5), nine = layer.make_routing(exec, 9);
  const auto plan_of_five = layer.make_plan(exec, 5), plan_of_four = layer.make_plan(exec, 4);
  CHECK_THROWS_MATCHES(layer.route(exec, p, view(4, 4), five, workspace), moe::Error,
                       Message("moe::Layer::route: expected tokens of the routing = 4, got 5"));
  CHECK_THROWS_MATCHES(layer.plan(exec, nine, plan_of_five, workspace), moe::Error,
                       Message("moe::Layer::plan: expected tokens of the routing <= 8, got 9"));
  CHECK_THROWS_MATCHES(layer.plan(exec, five, plan_of_four, workspace), moe::Error,
                       Message("moe::Layer::plan: expected tokens of the plan = 5, got 4"));
  CHECK_THROWS_MATCHES(layer.apply(exec, p, view(4, 4), five, plan_of_four, view(4, 4), workspace), moe::Error,
                       Message("moe::Layer::apply: expected tokens of the routing = 4, got 5"));
  CHECK_THROWS_MATCHES(layer.apply(exec, p, view(5, 4), five, plan_of_four, view(5, 4), workspace), moe::Error,
                       Message("moe::Layer::apply: expected tokens of the plan = 5, got 4"));
}

TEST_CASE("no error: rows of a wider view", "[layer][errors]") {
  const auto layer = make_layer();
  const test::Exec exec;
  const auto p = layer.parameters(exec);
  auto workspace = layer.workspace(exec, 8);
  const auto values = test::uniform<float>(1, 5 * hidden);
  const auto packed = test::rows<float>(values, 5, hidden), expected = view(5, hidden);
  const auto wide = view(5, 9), wide_out = view(5, 7);
  Kokkos::deep_copy(wide_out, -7.0f);
  const test::Rows<float> x(Kokkos::subview(wide, Kokkos::ALL, std::pair(2, 2 + hidden)));
  const test::Rows<float> y(Kokkos::subview(wide_out, Kokkos::ALL, std::pair(1, 1 + hidden)));
  Kokkos::deep_copy(x, packed);
  layer.forward(exec, p, packed, expected, workspace);
  layer.forward(exec, p, x, y, workspace);
  CHECK(test::to_host(y) == test::to_host(expected));
  for (int t = 0; t < 5; ++t) {  // and nothing beside them is written
    const auto row = test::slice(test::to_host(wide_out), t * 7, 7);
    CHECK(row[0] == -7);
    CHECK(row[5] == -7);
    CHECK(row[6] == -7);
  }
}

TEST_CASE("errors: y that is x, and dx that is dy, in every block", "[layer][errors]") {
  const auto refuses = [](const auto& block, const std::string& name) {
    const test::Exec exec;
    const auto p = block.parameters(exec);
    const auto g = block.gradients(exec);
    auto workspace = block.workspace(exec, 5);
    auto tape = block.tape(exec, 5);
    const auto x = view(5, hidden), y = view(5, hidden);
    const std::string own = "expected memory of its own, got that of the input";
    CHECK_THROWS_MATCHES(block.forward(exec, p, x, x, workspace), moe::Error, Message(name + "::forward, y: " + own));
    CHECK_THROWS_MATCHES(block.forward(exec, p, x, x, tape, workspace), moe::Error,
                         Message(name + "::forward, y: " + own));
    block.forward(exec, p, x, y, tape, workspace);
    CHECK_THROWS_MATCHES(block.backward(exec, p, tape, y, y, g, workspace), moe::Error,
                         Message(name + "::backward, dx: " + own));
    // Nothing to read and nothing to write is no overlap, wherever it is.
    const auto none = view(0, hidden);
    CHECK_NOTHROW(block.forward(exec, p, none, none, workspace));
  };
  const auto layer = make_layer();
  const moe::RmsNorm norm(hidden);
  refuses(layer, "moe::Layer");
  refuses(norm, "moe::RmsNorm");
  refuses(moe::Linear(hidden, hidden), "moe::Linear");
  refuses(moe::Residual{layer}, "moe::Residual");
  refuses(moe::Chain{norm, layer}, "moe::Chain");
  refuses(moe::Shared{layer, moe::SwiGlu(), 6}, "moe::Shared");
  refuses(moe::TokenSkip{layer}, "moe::TokenSkip");
  refuses(moe::SoftMixture{moe::Shape<>{.experts = 3, .hidden = hidden, .intermediate = 5}, moe::SwiGlu()},
          "moe::SoftMixture");
}

TEST_CASE("errors: linear maps, norms and chains of a wrong width", "[layer][errors]") {
  const test::Exec exec;
  CHECK_THROWS_MATCHES(moe::Linear(0, 3), moe::Error, Message("moe::Linear: expected in >= 1, got 0"));
  CHECK_THROWS_MATCHES(moe::Linear(3, -1), moe::Error, Message("moe::Linear: expected out >= 1, got -1"));
  CHECK_THROWS_MATCHES(moe::RmsNorm(0), moe::Error, Message("moe::RmsNorm: expected hidden >= 1, got 0"));
  CHECK_THROWS_MATCHES((moe::Chain{moe::RmsNorm(4), moe::RmsNorm(5)}), moe::Error,
                       Message("moe::Chain: expected hidden of every block = 4, got 5"));
  CHECK_THROWS_MATCHES((moe::Chain{moe::Linear(4, 4), moe::Linear(4, 5)}), moe::Error,
                       Message("moe::Chain: expected hidden of every block = 4, got -1"));
  CHECK_THROWS_MATCHES((moe::Chain{moe::Linear(4, 8), moe::Linear(8, 4)}), moe::Error,
                       Message("moe::Chain: expected hidden of the first block (in = out) >= 1, got -1"));

  const moe::RmsNorm norm(4);
  const moe::Linear linear(4, 3);
  const auto p = norm.parameters(exec), g = norm.gradients(exec);
  const auto q = linear.parameters(exec), h = linear.gradients(exec);
  auto workspace = norm.workspace(exec, 8), small = norm.workspace(exec, 4);
  auto inference = norm.workspace(exec, 8, moe::Use::inference);
  auto tape = norm.tape(exec, 8);
  CHECK_THROWS_MATCHES(norm.forward(exec, p, view(5, 3), view(5, 4), workspace), moe::Error,
                       Message("moe::RmsNorm::forward: expected columns of x = 4, got 3"));
  CHECK_THROWS_MATCHES(norm.forward(exec, p, view(5, 4), view(5, 3), workspace), moe::Error,
                       Message("moe::RmsNorm::forward, y: expected columns = 4, got 3"));
  norm.forward(exec, p, view(8, 4), view(8, 4), tape, workspace);
  CHECK_THROWS_MATCHES(norm.backward(exec, p, tape, view(7, 4), view(8, 4), g, workspace), moe::Error,
                       Message("moe::RmsNorm::backward, dy: expected rows = 8, got 7"));
  CHECK_THROWS_MATCHES(norm.backward(exec, p, tape, view(8, 4), view(8, 4), g, small), moe::Error,
                       Message("moe::RmsNorm::backward: expected tokens (max_tokens of the workspace) <= 4, got 8"));
  CHECK_THROWS_MATCHES(
      norm.backward(exec, p, tape, view(8, 4), view(8, 4), g, inference), moe::Error,
      Message("moe::RmsNorm::backward: the workspace was made for inference; make it with Use::training"));

  auto linear_workspace = linear.workspace(exec, 8), linear_small = linear.workspace(exec, 4);
  auto linear_tape = linear.tape(exec, 8);
  CHECK_THROWS_MATCHES(linear.forward(exec, q, view(5, 4), view(5, 4), linear_workspace), moe::Error,
                       Message("moe::Linear::forward, y: expected columns = 3, got 4"));
  linear.forward(exec, q, view(8, 4), view(8, 3), linear_tape, linear_workspace);
  CHECK_THROWS_MATCHES(linear.backward(exec, q, linear_tape, view(8, 4), view(8, 4), h, linear_workspace), moe::Error,
                       Message("moe::Linear::backward, dy: expected columns = 3, got 4"));
  CHECK_THROWS_MATCHES(linear.backward(exec, q, linear_tape, view(8, 3), view(8, 4), h, linear_small), moe::Error,
                       Message("moe::Linear::backward: expected tokens (max_tokens of the workspace) <= 4, got 8"));
}
