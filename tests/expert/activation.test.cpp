#include <moe/expert/activation.hpp>

#include <algorithm>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <golden/qwen3_moe.hpp>
#include <reference/expert.hpp>
#include <support/compare.hpp>
#include <support/views.hpp>
#include <vector>

namespace {

/// Where to look: dense around 0, and far out.
std::vector<double> points() {
  std::vector<double> x;
  for (int i = -160; i <= 160; ++i) x.push_back(i / 16.0);
  for (const double far : {20.0, 50.0, 90.0, 200.0}) x.push_back(far), x.push_back(-far);
  return x;
}

template <class ActivationT, class T>
void check(reference::Activation expected, double absolute) {
  for (const double x : points()) {
    CAPTURE(x);
    const double value = double(ActivationT::value(T(x))), derivative = double(ActivationT::derivative(T(x)));
    CHECK(std::abs(value - expected(x)) <= absolute * std::max(1.0, std::abs(x)));
    if (x == 0) continue;  // the kink of relu
    const double numeric = (expected(x + 1e-5) - expected(x - 1e-5)) / 2e-5;
    // x (1 - sigmoid(x)) has the rounding of 1 - sigmoid(x), x times
    CHECK(std::abs(derivative - numeric) <= std::max(absolute * std::max(1.0, std::abs(x)), 1e-8));
  }
}

template <class ActivationT, class GoldenT>
void check_golden(const GoldenT& golden) {
  for (std::size_t i = 0; i < moe::golden::activations.x.size(); ++i) {
    const double x = moe::golden::activations.x[i];
    CAPTURE(x);
    CHECK(std::abs(ActivationT::value(x) - golden.value[i]) < 1e-11 * std::max(1.0, std::abs(x)));
    CHECK(std::abs(ActivationT::derivative(x) - golden.derivative[i]) < 1e-11);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("activations and their derivatives", "[expert][activation]", float, double) {
  const double absolute = sizeof(TestType) == 4 ? 3e-7 : 1e-15;
  check<moe::Relu, TestType>(reference::relu, absolute);
  check<moe::Silu, TestType>(reference::silu, absolute);
  check<moe::Gelu, TestType>(reference::gelu, absolute);
}

TEST_CASE("activations at 0: relu takes the left side's derivative", "[expert][activation]") {
  CHECK(moe::Relu::value(0.0) == 0);
  CHECK(moe::Relu::derivative(0.0) == 0);
  CHECK(moe::Silu::value(0.0) == 0);
  CHECK(moe::Silu::derivative(0.0) == 0.5);
  CHECK(moe::Gelu::value(0.0) == 0);
  CHECK(moe::Gelu::derivative(0.0) == 0.5);
}

TEST_CASE("activations neither overflow nor hide a NaN", "[expert][activation]") {
  for (const float far : {88.0f, 1e4f, 3e38f}) {
    CAPTURE(far);
    CHECK(moe::Silu::value(far) == far);
    CHECK(moe::Gelu::value(far) == far);
    CHECK(std::abs(moe::Silu::value(-far)) < 1e-35f);
    CHECK(std::abs(moe::Gelu::value(-far)) < 1e-35f);
    CHECK(moe::Silu::derivative(far) == 1);
    CHECK(moe::Gelu::derivative(far) == 1);
    CHECK(std::abs(moe::Silu::derivative(-far)) < 1e-35f);
    CHECK(std::abs(moe::Gelu::derivative(-far)) < 1e-35f);
  }
  CHECK(std::isnan(moe::Silu::value(test::not_a_number)));
  CHECK(std::isnan(moe::Gelu::value(test::not_a_number)));
}

TEST_CASE("golden: activations as PyTorch's", "[expert][activation][golden]") {
  check_golden<moe::Relu>(moe::golden::activations.relu);
  check_golden<moe::Silu>(moe::golden::activations.silu);
  check_golden<moe::Gelu>(moe::golden::activations.gelu_erf);
}

TEST_CASE("Plain and Gated: h, and its gradients by each part", "[expert][activation]") {
  const auto z = test::uniform(3, 2, 2);
  CHECK(moe::Plain<moe::Silu>::value(z.data()) == moe::Silu::value(z[0]));
  CHECK(moe::Gated<moe::Silu>::value(z.data()) == moe::Silu::value(z[0]) * z[1]);
  double d_z[2];
  moe::Plain<moe::Silu>::backward(z.data(), 3.0, d_z);
  CHECK(d_z[0] == 3 * moe::Silu::derivative(z[0]));
  moe::Gated<moe::Silu>::backward(z.data(), 3.0, d_z);
  CHECK(d_z[0] == 3 * z[1] * moe::Silu::derivative(z[0]));
  CHECK(d_z[1] == 3 * moe::Silu::value(z[0]));
}
