#include <moe/layer/linear.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <moe/layer/chain.hpp>
#include <reference/matrix.hpp>
#include <string>
#include <support/compare.hpp>
#include <support/gradient_check.hpp>
#include <support/parameters.hpp>
#include <support/views.hpp>
#include <vector>

namespace {

template <class BiasT, class T, class EngineT>
void check(int in, int out) {
  constexpr int tokens = 34;
  const moe::Linear linear{in, out, BiasT{}, moe::Precision<T>{}, EngineT{}};
  auto p = linear.parameters(test::Exec());
  test::scatter(p);
  const auto x = test::uniform<T>(1, tokens * in), weight = test::cast<double>(moe::to_host(p.weight));
  std::vector<double> expected;
  for (int t = 0; t < tokens; ++t) {
    auto row = reference::multiply(weight, reference::row(x, in, t));
    if constexpr (std::is_same_v<BiasT, moe::WithBias>) {
      for (int o = 0; o < out; ++o) row[o] += double(moe::to_host(p.bias)[o]);
    }
    expected.insert(expected.end(), row.begin(), row.end());
  }
  auto workspace = linear.workspace(test::Exec(), tokens);
  const auto y = test::rows<T>(tokens, out);
  linear.forward(test::Exec(), p, test::rows<T>(x, tokens, in), y, workspace);
  CAPTURE(in, out);
  CHECK(test::error(test::to_host(y), expected) < test::tolerance<T>);
}

}  // namespace

TEMPLATE_TEST_CASE("Linear is the reference's", "[layer][linear]", float, double) {
  using T = TestType;
  for (const int in : {1, 19, 64}) {
    for (const int out : {1, 17, 80}) {
      check<moe::NoBias, T, moe::BestEngine>(in, out);
      check<moe::WithBias, T, moe::BestEngine>(in, out);
      check<moe::WithBias, T, moe::PortableTeams>(in, out);
    }
  }
}

TEST_CASE("gradients: Linear", "[layer][linear][gradients]") {
  const auto check_gradients = [](const auto& linear, const std::vector<std::string>& tensors) {
    auto p = linear.parameters(test::Exec());
    test::scatter(p);
    const auto report = test::check_gradients(linear, p, {.tokens = 67, .in = linear.in(), .out = linear.out()});
    CAPTURE(report.where);
    CHECK(report.worst < 1e-6);
    CHECK(report.checked == tensors);
  };
  using Double = moe::Precision<double>;
  check_gradients(moe::Linear{5, 19, moe::NoBias{}, Double{}}, {"weight", "x"});
  check_gradients(moe::Linear{19, 5, moe::WithBias{}, Double{}}, {"weight", "bias", "x"});
  check_gradients(moe::Linear{19, 5, moe::WithBias{}, Double{}, moe::PortableTeams{}}, {"weight", "bias", "x"});
}

TEST_CASE("Linear: nothing is written beside rows of a wider view", "[layer][linear]") {
  constexpr int tokens = 5, in = 9, out = 7;
  const moe::Linear linear{in, out, moe::WithBias{}};
  const test::Exec exec;
  auto p = linear.parameters(exec);
  test::scatter(p);
  auto g = linear.gradients(exec);
  auto workspace = linear.workspace(exec, tokens);
  auto tape = linear.tape(exec, tokens);
  const auto wide_y = test::rows<float>(tokens, out + 4), wide_dx = test::rows<float>(tokens, in + 4);
  Kokkos::deep_copy(wide_y, -7.0f), Kokkos::deep_copy(wide_dx, -7.0f);
  const test::Rows<float> y(Kokkos::subview(wide_y, Kokkos::ALL, std::pair(2, 2 + out)));
  const test::Rows<float> dx(Kokkos::subview(wide_dx, Kokkos::ALL, std::pair(2, 2 + in)));
  const auto x = test::rows<float>(test::uniform(1, tokens * in), tokens, in);  // the tape refers to it
  linear.forward(exec, p, x, y, tape, workspace);
  linear.backward(exec, p, tape, test::rows<float>(test::uniform(2, tokens * out), tokens, out), dx, g, workspace);
  const auto untouched = [](const auto& wide, int columns) {
    const auto values = test::to_host(wide);
    const int width = columns + 4;
    for (int t = 0; t < tokens; ++t) {
      for (const int c : {0, 1, columns + 2, columns + 3}) {
        if (values[t * width + c] != -7) return false;
      }
    }
    return true;
  };
  CHECK(untouched(wide_y, out));
  CHECK(untouched(wide_dx, in));
}

TEST_CASE("Linear: gradients accumulate, are left out, and are 0 for no tokens", "[layer][linear][gradients]") {
  constexpr int tokens = 6;
  const moe::Linear linear{3, 4, moe::WithBias{}, moe::Precision<double>{}};
  const test::Exec exec;
  auto p = linear.parameters(exec);
  test::scatter(p);
  auto g = linear.gradients(exec), onto = linear.gradients(exec), frozen = linear.gradients(exec);
  test::scatter(onto, 3);
  const auto before = test::values_of(onto);
  auto workspace = linear.workspace(exec, tokens);
  auto tape = linear.tape(exec, tokens);
  const auto x = test::rows<double>(test::uniform(1, tokens * 3), tokens, 3), dx = test::rows<double>(tokens, 3);
  const auto dy = test::rows<double>(test::uniform(2, tokens * 4), tokens, 4), y = test::rows<double>(tokens, 4);
  linear.forward(exec, p, x, y, tape, workspace);
  linear.backward(exec, p, tape, dy, dx, g, workspace);
  const auto once = test::values_of(g);
  linear.backward(exec, p, tape, dy, dx, onto, workspace, {.accumulate = true});
  for (const auto& [name, values] : test::values_of(onto)) {
    auto expected = before.at(name);
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += once.at(name)[i];
    CHECK(test::error(values, expected) < 1e-14);
  }
  frozen.bias = {};
  linear.backward(exec, p, tape, dy, dx, frozen, workspace);
  CHECK(test::same_bits(moe::to_host(frozen.weight), moe::to_host(g.weight)));
  frozen = linear.gradients(exec);
  frozen.weight = {};
  linear.backward(exec, p, tape, dy, dx, frozen, workspace);
  CHECK(test::same_bits(moe::to_host(frozen.bias), moe::to_host(g.bias)));

  const auto none = test::rows<double>(0, 3), none_out = test::rows<double>(0, 4);
  linear.forward(exec, p, none, none_out, tape, workspace);
  linear.backward(exec, p, tape, none_out, none, g, workspace);
  for (const auto& [name, values] : test::values_of(g)) CHECK(test::all_zero(values));
}

TEST_CASE("Linear: its tensors", "[layer][linear]") {
  const auto p = moe::Linear{3, 4, moe::WithBias{}}.parameters(test::Exec());
  CHECK(p.weight.shape == std::vector{4, 3});
  CHECK(p.weight.traits.decay);
  CHECK(p.bias.shape == std::vector{4});
  CHECK_FALSE(p.bias.traits.decay);
  CHECK(test::all_zero(moe::to_host(p.bias)));
  for (const float w : moe::to_host(p.weight)) CHECK(std::abs(w) <= 1 / std::sqrt(3.0f));
}
