#include <moe/layer/rms_norm.hpp>

#include <algorithm>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <golden/qwen3_moe.hpp>
#include <reference/rms_norm.hpp>
#include <support/compare.hpp>
#include <support/gradient_check.hpp>
#include <support/parameters.hpp>
#include <support/views.hpp>
#include <type_traits>
#include <vector>

namespace {

template <class T, class BlockT, class ParametersT>
std::vector<T> forward(const BlockT& norm, const ParametersT& p, const std::vector<double>& x) {
  const int hidden = norm.hidden(), tokens = int(x.size()) / hidden;
  auto workspace = norm.workspace(test::Exec(), tokens, moe::Use::inference);
  const auto y = test::rows<T>(tokens, hidden);
  norm.forward(test::Exec(), p, test::rows<T>(x, tokens, hidden), y, workspace);
  return test::to_host(y);
}

}  // namespace

TEMPLATE_TEST_CASE("RmsNorm is the reference's", "[layer][rms_norm]", float, double) {
  using T = TestType;
  for (const int hidden : {1, 7, 16, 33}) {
    for (const int tokens : {0, 1, 65}) {
      CAPTURE(hidden, tokens);
      const moe::RmsNorm norm{hidden, 1e-3, moe::Precision<T>{}};
      const auto p = norm.parameters(test::Exec());
      CHECK(moe::to_host(p.weight) == std::vector<T>(hidden, T(1)));
      const auto weight = test::uniform<T>(3, hidden, 2), x = test::uniform<T>(4, tokens * hidden, 2);
      moe::assign(p.weight, test::cast<T>(weight));
      std::vector<double> expected;
      for (int t = 0; t < tokens; ++t) {
        const auto row = reference::rms_norm(reference::row(x, hidden, t), weight, 1e-3);
        expected.insert(expected.end(), row.begin(), row.end());
      }
      CHECK(test::error(forward<T>(norm, p, x), expected) < test::tolerance<T>);
    }
  }
}

TEST_CASE("RmsNorm: a row of zeros stays one, and huge rows are scaled to 1", "[layer][rms_norm]") {
  const moe::RmsNorm norm{4, 1e-6, moe::Precision<double>{}};
  const auto p = norm.parameters(test::Exec());
  CHECK(forward<double>(norm, p, {0, 0, 0, 0}) == std::vector<double>(4, 0.0));
  CHECK(test::error(forward<double>(norm, p, {1e100, -1e100, 1e100, -1e100}), std::vector<double>{1, -1, 1, -1}) <
        1e-15);
}

TEST_CASE("gradients: RmsNorm", "[layer][rms_norm][gradients]") {
  for (const int hidden : {1, 19}) {
    const moe::RmsNorm norm{hidden, 1e-2, moe::Precision<double>{}};  // an epsilon that counts
    auto p = norm.parameters(test::Exec());
    test::scatter(p);
    const auto report = test::check_gradients(norm, p, {.tokens = 66, .in = hidden});
    CAPTURE(hidden, report.where);
    CHECK(report.worst < 1e-6);
    CHECK(report.checked == std::vector<std::string>{"weight", "x"});
  }
}

TEST_CASE("RmsNorm: gradients accumulate, or are left out", "[layer][rms_norm][gradients]") {
  const moe::RmsNorm norm{5, 1e-6, moe::Precision<double>{}};
  const test::Exec exec;
  auto p = norm.parameters(exec);
  auto g = norm.gradients(exec), twice = norm.gradients(exec);
  auto workspace = norm.workspace(exec, 9);
  auto tape = norm.tape(exec, 9);
  const auto x = test::rows<double>(test::uniform(1, 45), 9, 5), dy = test::rows<double>(test::uniform(2, 45), 9, 5);
  const auto y = test::rows<double>(9, 5), dx = test::rows<double>(9, 5), same = test::rows<double>(9, 5);
  norm.forward(exec, p, x, y, tape, workspace);
  norm.backward(exec, p, tape, dy, dx, g, workspace);
  norm.backward(exec, p, tape, dy, dx, twice, workspace);
  norm.backward(exec, p, tape, dy, dx, twice, workspace, {.accumulate = true});
  auto doubled = moe::to_host(g.weight);
  for (double& each : doubled) each *= 2;
  CHECK(moe::to_host(twice.weight) == doubled);
  norm.backward(exec, p, tape, dy, same, decltype(g){}, workspace);
  CHECK(test::same_bits(test::to_host(same), test::to_host(dx)));
}

TEST_CASE("RmsNorm: static and dynamic width give the same bits", "[layer][rms_norm]") {
  const moe::RmsNorm dynamic{21};
  const moe::RmsNorm<21> fixed{};
  STATIC_REQUIRE(std::is_same_v<decltype(dynamic), const moe::RmsNorm<moe::dynamic>>);
  auto p = dynamic.parameters(test::Exec());
  auto q = fixed.parameters(test::Exec());
  test::scatter(p), test::scatter(q);
  const auto x = test::uniform<float>(1, 8 * 21);
  CHECK(test::same_bits(forward<float>(dynamic, p, x), forward<float>(fixed, q, x)));
}

TEST_CASE("RmsNorm: the weight does not decay", "[layer][rms_norm]") {
  const auto p = moe::RmsNorm{6}.parameters(test::Exec());
  CHECK(p.weight.name == "weight");
  CHECK(p.weight.shape == std::vector{6});
  CHECK(p.weight.traits.trainable);
  CHECK_FALSE(p.weight.traits.decay);
}

TEST_CASE("golden: RmsNorm as transformers' Qwen3MoeRMSNorm", "[layer][rms_norm][golden]") {
  const auto& golden = moe::golden::rms_norm;
  const int hidden = golden.hidden, tokens = golden.tokens;
  const moe::RmsNorm norm{hidden, golden.eps, moe::Precision<double>{}};
  const test::Exec exec;
  auto p = norm.parameters(exec);
  auto g = norm.gradients(exec);
  const auto list = [](const auto& array) { return std::vector<double>(array.begin(), array.end()); };
  moe::assign(p.weight, list(golden.weight));
  auto workspace = norm.workspace(exec, tokens);
  auto tape = norm.tape(exec, tokens);
  const auto x = test::rows<double>(list(golden.x), tokens, hidden),
             dy = test::rows<double>(list(golden.r), tokens, hidden);
  const auto y = test::rows<double>(tokens, hidden), dx = test::rows<double>(tokens, hidden);
  norm.forward(exec, p, x, y, tape, workspace);
  norm.backward(exec, p, tape, dy, dx, g, workspace);
  CHECK(test::error(test::to_host(y), list(golden.y)) < 1e-11);
  CHECK(test::error(test::to_host(dx), list(golden.d_x)) < 1e-11);
  CHECK(test::error(moe::to_host(g.weight), list(golden.d_weight)) < 1e-11);
}
