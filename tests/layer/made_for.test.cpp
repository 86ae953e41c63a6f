// Parameters, tapes and workspaces that another block of the same type made, or nobody: refused, nothing is read or written.

#include <moe/moe.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <string>
#include <support/compare.hpp>
#include <support/views.hpp>

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::Message;
using Catch::Matchers::MessageMatches;

namespace {

constexpr int tokens = 6, hidden = 4;

using Dynamic = moe::SoftmaxTopK<moe::dynamic>;

auto layer_of(const moe::Shape<>& shape, int k = 2) {
  return moe::Layer{shape, Dynamic{.select = {.k = k}}, moe::SwiGlu(), moe::SwitchLoss()};
}
const moe::Shape<> small{.experts = 3, .hidden = hidden, .intermediate = 5};
const moe::Shape<> large{.experts = 64, .hidden = hidden, .intermediate = 100};

enum Shares { nothing, parameters };

/// Whether `block` refuses what `other` made, each in turn; some blocks of different sizes may share their parameters.
template <class BlockT>
void check_refused(const BlockT& block, const BlockT& other, int out, Shares shares = nothing, int other_out = hidden) {
  const test::Exec exec;
  const auto x = test::rows<float>(tokens, hidden), y = test::rows<float>(tokens, out);
  const auto p = block.parameters(exec), g = block.gradients(exec);
  auto workspace = block.workspace(exec, tokens);
  auto tape = block.tape(exec, tokens);
  auto other_workspace = other.workspace(exec, tokens);
  auto other_tape = other.tape(exec, tokens);
  other.forward(exec, other.parameters(exec), x, test::rows<float>(tokens, other_out), other_tape, other_workspace);
  block.forward(exec, p, x, y, tape, workspace);
  using Parameters = std::remove_const_t<decltype(p)>;

  const auto says = [](const std::string& what, const char* whose) {
    return MessageMatches(ContainsSubstring(": the " + what + (what.back() == 's' ? " are " : " is ") + whose));
  };
  const auto of_another = [&](const char* what) { return says(what, "another block's, of ("); };
  CHECK_THROWS_MATCHES(block.forward(exec, p, x, y, other_workspace), moe::Error, of_another("workspace"));
  CHECK_THROWS_MATCHES(block.forward(exec, p, x, y, other_tape, workspace), moe::Error, of_another("tape"));
  CHECK_THROWS_MATCHES(block.backward(exec, p, other_tape, y, x, g, workspace), moe::Error, of_another("tape"));
  CHECK_THROWS_MATCHES(block.backward(exec, p, tape, y, x, g, other_workspace), moe::Error, of_another("workspace"));
  CHECK_THROWS_MATCHES(block.forward(exec, Parameters(), x, y, workspace), moe::Error, says("parameters", "nobody's"));
  CHECK_THROWS_MATCHES(block.forward(exec, Parameters(), x, y, tape, workspace), moe::Error,
                       says("parameters", "nobody's"));
  CHECK_THROWS_MATCHES(block.backward(exec, Parameters(), tape, y, x, g, workspace), moe::Error,
                       says("parameters", "nobody's"));
  if (shares == parameters) {
    CHECK_NOTHROW(block.forward(exec, other.parameters(exec), x, y, workspace));
  } else {
    const auto q = other.parameters(exec), h = other.gradients(exec);
    CHECK_THROWS_MATCHES(block.forward(exec, q, x, y, workspace), moe::Error, of_another("parameters"));
    CHECK_THROWS_MATCHES(block.forward(exec, q, x, y, tape, workspace), moe::Error, of_another("parameters"));
    CHECK_THROWS_MATCHES(block.backward(exec, q, tape, y, x, g, workspace), moe::Error, of_another("parameters"));
    CHECK_THROWS_MATCHES(block.backward(exec, p, tape, y, x, h, workspace), moe::Error, of_another("gradients"));
  }
  // No gradients are wanted: that is not a mistake. Nor is anything wrong with what the block made itself.
  CHECK_NOTHROW(block.backward(exec, p, tape, y, x, {}, workspace));
  CHECK_NOTHROW(block.backward(exec, p, tape, y, x, g, workspace));
  exec.fence();
}

}  // namespace

TEST_CASE("made for: layers of other sizes", "[layer][made_for]") {
  check_refused(layer_of(small), layer_of(large), hidden);
}
TEST_CASE("made for: layers that choose more experts of the same may share their parameters", "[layer][made_for]") {
  check_refused(layer_of(small, 1), layer_of(small, 3), hidden, parameters);
}
TEST_CASE("made for: linear maps and norms", "[layer][made_for]") {
  check_refused(moe::Linear(hidden, 3), moe::Linear(hidden, 7), 3, nothing, 7);

  const test::Exec exec;
  const moe::RmsNorm norm(hidden), wide(64);
  const auto p = norm.parameters(exec), q = wide.parameters(exec), g = wide.gradients(exec);
  const auto x = test::rows<float>(tokens, hidden), y = test::rows<float>(tokens, hidden);
  auto workspace = norm.workspace(exec, tokens), other_workspace = wide.workspace(exec, tokens);
  auto tape = norm.tape(exec, tokens), other_tape = wide.tape(exec, tokens);
  const auto of_another = MessageMatches(ContainsSubstring("another block's, of (hidden, 1) = (64, 1)"));
  CHECK_THROWS_MATCHES(norm.forward(exec, q, x, y, workspace), moe::Error, of_another);
  CHECK_THROWS_MATCHES(norm.forward(exec, p, x, y, other_workspace), moe::Error, of_another);
  CHECK_THROWS_MATCHES(norm.forward(exec, p, x, y, other_tape, workspace), moe::Error, of_another);
  norm.forward(exec, p, x, y, tape, workspace);
  CHECK_THROWS_MATCHES(norm.backward(exec, q, tape, y, x, {}, workspace), moe::Error, of_another);
  CHECK_THROWS_MATCHES(norm.backward(exec, p, other_tape, y, x, {}, workspace), moe::Error, of_another);
  CHECK_THROWS_MATCHES(norm.backward(exec, p, tape, y, x, {}, other_workspace), moe::Error, of_another);
  CHECK_THROWS_MATCHES(norm.backward(exec, p, tape, y, x, g, workspace), moe::Error, of_another);
  CHECK_NOTHROW(norm.backward(exec, p, tape, y, x, {}, workspace));
}
TEST_CASE("made for: shared experts", "[layer][made_for]") {
  const auto block = [](int intermediate) {
    return moe::Shared{layer_of(small), moe::SwiGlu{}, intermediate, moe::SigmoidGate{}};
  };
  check_refused(block(5), block(50), hidden);
}
TEST_CASE("made for: soft mixtures", "[layer][made_for]") {
  const auto block = [](const moe::Shape<>& shape, int length) {
    return moe::SoftMixture{shape, moe::SwiGlu{}, moe::SoftSlots{.per_expert = 2, .sequence_length = length}};
  };
  check_refused(block(small, 3), block(large, 3), hidden);
  check_refused(block(small, 3), block(small, 2), hidden, parameters);
}
TEST_CASE("made for: skips of other capacities share the parameters", "[layer][made_for]") {
  const auto block = [](double capacity) {
    return moe::TokenSkip{moe::RmsNorm(hidden), moe::SkipOptions{.capacity = capacity}};
  };
  check_refused(block(1), block(0.5), hidden, parameters);
}

TEST_CASE("made for: the sentence names the sizes", "[layer][made_for]") {
  const test::Exec exec;
  const auto layer = layer_of(small);
  const auto x = test::rows<float>(tokens, hidden), y = test::rows<float>(tokens, hidden);
  auto workspace = layer.workspace(exec, tokens);
  CHECK_THROWS_MATCHES(
      layer.forward(exec, layer_of(large).parameters(exec), x, y, workspace), moe::Error,
      Message("moe::Layer: the parameters are another block's, of (experts, hidden, intermediate) = (64, 4, 100); this "
              "one is of (experts, hidden, intermediate) = (3, 4, 5)"));
  CHECK_THROWS_MATCHES(layer.forward(exec, {}, x, y, workspace), moe::Error,
                       Message("moe::Layer: the parameters are nobody's; make one by the block's member function of "
                               "that name"));
  auto tape = layer_of(small, 1).tape(exec, tokens);
  CHECK_THROWS_MATCHES(
      layer.update(exec, layer.parameters(exec), tape), moe::Error,
      Message(
          "moe::Layer: the tape is another block's, of (experts, hidden, intermediate, slots, max_tokens, max_rows) = "
          "(3, 4, 5, 1, 6, 6); this one is of (experts, hidden, intermediate, slots, max_tokens, max_rows) = "
          "(3, 4, 5, 2, 6, 12)"));
}
