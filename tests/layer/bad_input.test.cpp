// Inputs that break other libraries: NaN, infinities, huge logits, ties, empty experts, no tokens at all.

#include <moe/moe.hpp>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <set>
#include <support/compare.hpp>
#include <support/layers.hpp>
#include <support/parameters.hpp>
#include <vector>

namespace {

constexpr int experts = 8, hidden = 9, k = 3, tokens = 70;

template <class RouterT>
auto layer_of(const RouterT& router) {
  return moe::Layer{moe::Shape<>{.experts = experts, .hidden = hidden, .intermediate = 5},
                    router,
                    moe::SwiGlu(),
                    moe::Balance{moe::SwitchLoss(), moe::ZLoss()},
                    moe::Dropless(),
                    moe::Precision<float>(),
                    moe::BestEngine()};
}

bool valid_ids(const std::vector<int>& ids) {
  for (std::size_t t = 0; t < ids.size() / k; ++t) {
    const std::set<int> mine(ids.begin() + t * k, ids.begin() + (t + 1) * k);
    if (mine.size() != k || *mine.begin() < 0 || *mine.rbegin() >= experts) return false;
  }
  return true;
}

/// The tokens whose row of y has other bits.
std::set<int> changed(const std::vector<float>& a, const std::vector<float>& b) {
  std::set<int> tokens_changed;
  for (int t = 0; t < tokens; ++t) {
    if (!test::same_bits(test::slice(a, t * hidden, hidden), test::slice(b, t * hidden, hidden))) {
      tokens_changed.insert(t);
    }
  }
  return tokens_changed;
}

template <class RouterT>
void check_spoiled(const RouterT& router) {
  const auto layer = layer_of(router);
  auto p = layer.parameters(test::Exec());
  test::scatter(p);
  const auto x = test::uniform<float>(1, tokens * hidden);
  const auto clean = test::forward(layer, p, x);
  CHECK(clean.non_finite == 0);
  const double bad[] = {test::not_a_number, test::infinity, -test::infinity};
  for (const double value : bad) {
    CAPTURE(value);
    auto spoiled = x;
    spoiled[5 * hidden + 2] = value;                                  // one element
    std::fill_n(spoiled.begin() + 64 * hidden, hidden, value);        // a row
    spoiled[69 * hidden] = value, spoiled[69 * hidden + 1] = -value;  // two that meet
    const auto outcome = test::forward(layer, p, spoiled);
    CHECK(valid_ids(outcome.ids));
    CHECK(changed(outcome.y, clean.y) == std::set{5, 64, 69});
    CHECK(outcome.non_finite == 3);
    CHECK(outcome.offsets.back() == tokens * k);
    for (const int t : {5, 64, 69}) {  // told, not hidden
      const auto row = test::slice(outcome.y, t * hidden, hidden);
      CHECK(std::none_of(row.begin(), row.end(), [](float v) { return std::isfinite(v); }));
    }
  }
}

}  // namespace

TEST_CASE("NaN and infinities stay in their token, whose ids are valid all the same", "[layer][bad_input]") {
  SECTION("softmax") { check_spoiled(moe::SoftmaxTopK<k>()); }
  SECTION("sigmoid") { check_spoiled(moe::SigmoidTopK<k, moe::Normalise>()); }
}

TEST_CASE("a NaN in one expert's weights of the router: valid ids, every token counted", "[layer][bad_input]") {
  const auto layer = layer_of(moe::SoftmaxTopK<k>());
  auto p = layer.parameters(test::Exec());
  test::scatter(p);
  auto weight = moe::to_host(p.router.weight);
  weight[2 * hidden + 1] = float(test::not_a_number);
  moe::assign(p.router.weight, weight);
  const auto outcome = test::forward(layer, p, test::uniform(1, tokens * hidden));
  CHECK(valid_ids(outcome.ids));
  CHECK(outcome.non_finite == tokens);
}

TEST_CASE("logits of ten thousand: finite gates, losses and results", "[layer][bad_input]") {
  const auto layer = layer_of(moe::SoftmaxTopK<k>());
  auto p = layer.parameters(test::Exec());
  test::scatter(p);
  std::vector<float> weight = moe::to_host(p.router.weight);
  for (float& w : weight) w *= 1e4f;
  moe::assign(p.router.weight, weight);
  const auto x = test::uniform(1, tokens * hidden);
  const auto outcome = test::forward(layer, p, x);
  CHECK(valid_ids(outcome.ids));
  CHECK(outcome.non_finite == 0);
  const auto finite = [](auto v) { return std::isfinite(v); };
  CHECK(std::all_of(outcome.y.begin(), outcome.y.end(), finite));
  CHECK(std::all_of(outcome.losses.begin(), outcome.losses.end(), finite));
  for (const auto& [name, values] : test::gradients(layer, p, x, x)) {
    CAPTURE(name);
    CHECK(std::all_of(values.begin(), values.end(), finite));
  }
}

TEST_CASE("ties: all logits equal, so the first k experts", "[layer][bad_input]") {
  const auto layer = layer_of(moe::SoftmaxTopK<k>());
  auto p = layer.parameters(test::Exec());
  test::scatter(p);
  moe::assign(p.router.weight, std::vector<float>(experts * hidden, 0.0f));
  const auto outcome = test::forward(layer, p, test::uniform(1, tokens * hidden));
  for (int i = 0; i < tokens * k; ++i) CHECK(outcome.ids[i] == i % k);
  CHECK(outcome.load == std::vector{tokens, tokens, tokens, 0, 0, 0, 0, 0});
  CHECK(outcome.gates == std::vector<float>(tokens * k, 0.125f));
}

TEST_CASE("all tokens to the same experts: the empty ones' gradients are exactly 0", "[layer][bad_input]") {
  const auto layer = layer_of(moe::SoftmaxTopK<k>());
  auto p = layer.parameters(test::Exec());
  test::scatter(p);
  // x has a constant 1 in front, the router likes experts 7, 2 and 4 for it
  std::vector<float> weight(experts * hidden, 0.0f);
  weight[7 * hidden] = 3, weight[2 * hidden] = 2, weight[4 * hidden] = 1;
  moe::assign(p.router.weight, weight);
  auto x = test::uniform(1, tokens * hidden);
  for (int t = 0; t < tokens; ++t) x[t * hidden] = 1;
  CHECK(test::forward(layer, p, x).load == std::vector{0, 0, tokens, 0, tokens, 0, 0, tokens});

  // gradients that are overwritten, not added to
  const test::Exec exec;
  auto workspace = layer.workspace(exec, tokens);
  auto tape = layer.tape(exec, tokens);
  auto g = layer.gradients(exec);
  test::scatter(g, 3);
  const auto in = test::rows<float>(x, tokens, hidden), out = test::rows<float>(tokens, hidden);
  layer.forward(exec, p, in, out, tape, workspace);
  layer.backward(exec, p, tape, in, out, g, workspace);
  for (const auto& [name, values] : test::values_of(g)) {
    if (name == "router.weight") continue;
    const int size = int(values.size()) / experts;
    for (int e = 0; e < experts; ++e) {
      CAPTURE(name, e);
      CHECK(test::all_zero(test::slice(values, e * size, size)) == (e != 2 && e != 4 && e != 7));
    }
  }
}

TEST_CASE("no tokens: nothing in, nothing out, gradients and losses of 0", "[layer][bad_input]") {
  const auto layer = layer_of(moe::SoftmaxTopK<k>());
  auto p = layer.parameters(test::Exec());
  const test::Exec exec;
  for (const int max_tokens : {0, 4}) {
    CAPTURE(max_tokens);
    auto workspace = layer.workspace(exec, max_tokens);
    auto tape = layer.tape(exec, max_tokens);
    auto g = layer.gradients(exec);
    test::scatter(g);
    const auto nothing = test::rows<float>(0, hidden);
    layer.forward(exec, p, nothing, nothing, workspace);
    layer.forward(exec, p, nothing, nothing, tape, workspace);
    layer.backward(exec, p, tape, nothing, nothing, g, workspace);
    layer.update(exec, p, tape);
    for (const auto& [name, values] : test::values_of(g)) {
      CAPTURE(name);
      CHECK(test::all_zero(values));
    }
    const auto outcome = test::read(layer, tape, 0);
    CHECK(outcome.losses == std::vector{0.0f, 0.0f});
    CHECK(test::all_zero(outcome.load));
    CHECK(test::all_zero(outcome.offsets));
  }
}

TEST_CASE("fewer tokens than there is room for, after more of them", "[layer][bad_input]") {
  const auto layer = layer_of(moe::SoftmaxTopK<k>());
  auto p = layer.parameters(test::Exec());
  test::scatter(p);
  const test::Exec exec;
  auto workspace = layer.workspace(exec, tokens);
  auto tape = layer.tape(exec, tokens);
  auto g = layer.gradients(exec);
  for (const int count : {tokens, 1, 0, 65, 2}) {
    CAPTURE(count);
    const auto values = test::uniform<float>(count, count * hidden), delta = test::uniform<float>(7, count * hidden);
    const auto x = test::rows<float>(values, count, hidden), y = test::rows<float>(count, hidden);
    const auto dx = test::rows<float>(count, hidden);
    layer.update(exec, p, tape);
    layer.forward(exec, p, x, y, tape, workspace);
    layer.backward(exec, p, tape, test::rows<float>(delta, count, hidden), dx, g, workspace);
    const auto fresh = test::forward(layer, p, values);  // in memory of its own size
    CHECK(test::same_bits(test::to_host(y), fresh.y));
    CHECK(test::same_bits(test::to_host(tape.losses), fresh.losses));
    CHECK(test::to_host(tape.load) == fresh.load);
    auto expected = test::gradients(layer, p, values, delta);
    CHECK(test::same_bits(test::cast<double>(test::to_host(dx)), expected.at("x")));
    expected.erase("x");
    CHECK(test::values_of(g) == expected);
  }
}
