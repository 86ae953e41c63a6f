// The layer against transformers' Qwen3-MoE block: the same weights, the same input, its results and its gradients.

#include <moe/moe.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <golden/qwen3_moe.hpp>
#include <string>
#include <support/compare.hpp>
#include <support/layers.hpp>
#include <type_traits>
#include <vector>

namespace {

using moe::golden::qwen3;

template <class ArrayT>
std::vector<double> vector_of(const ArrayT& array) {
  return {array.begin(), array.end()};
}

/// gate [experts, out, in] and up, as one tensor [experts, 2, out, in].
template <class ArrayT>
std::vector<double> gate_up(const ArrayT& gate, const ArrayT& up) {
  std::vector<double> both;
  const int size = int(gate.size()) / qwen3.experts;
  for (int e = 0; e < qwen3.experts; ++e) {
    both.insert(both.end(), gate.begin() + e * size, gate.begin() + (e + 1) * size);
    both.insert(both.end(), up.begin() + e * size, up.begin() + (e + 1) * size);
  }
  return both;
}

template <class T, class WeighT, class EngineT, class OutputsT>
void check(const OutputsT& golden) {
  const moe::Layer layer{
      moe::Shape<>{.experts = qwen3.experts, .hidden = qwen3.hidden, .intermediate = qwen3.intermediate},
      moe::SoftmaxTopK<moe::dynamic, WeighT>{.select = {.k = golden.top_k}},
      moe::SwiGlu(),
      moe::NoBalance(),
      moe::Dropless(),
      moe::Precision<T>(),
      EngineT()};
  const auto p = layer.parameters(test::Exec());
  moe::assign(p.router.weight, test::cast<T>(vector_of(qwen3.router_weight)));
  moe::assign(p.experts.in, test::cast<T>(gate_up(qwen3.gate_proj, qwen3.up_proj)));
  moe::assign(p.experts.down, test::cast<T>(vector_of(qwen3.down_proj)));

  // the numbers have 12 digits, the matrices' gradients 9: half a unit of the ninth is 5e-9 of a number near 1
  const double few = std::is_same_v<T, double> ? 1e-11 : test::tolerance<T>;
  const auto outcome = test::forward(layer, p, vector_of(qwen3.x));
  CHECK(outcome.ids == std::vector<int>(golden.ids.begin(), golden.ids.end()));
  CHECK(test::error(outcome.logits, vector_of(qwen3.logits)) < few);
  CHECK(test::error(outcome.gates, vector_of(golden.gates)) < few);
  CHECK(test::error(outcome.y, vector_of(golden.y)) < few);

  const auto gradients = test::gradients(layer, p, vector_of(qwen3.x), vector_of(qwen3.r));
  CHECK(test::error(gradients.at("x"), vector_of(golden.d_x)) < few);
  CHECK(test::error(gradients.at("router.weight"), vector_of(golden.d_router_weight)) < few);
  if constexpr (requires { golden.d_down_proj; }) {
    const double fewer = std::is_same_v<T, double> ? 5e-9 : test::tolerance<T>;
    CHECK(test::error(gradients.at("experts.gate_up"), gate_up(golden.d_gate_proj, golden.d_up_proj)) < fewer);
    CHECK(test::error(gradients.at("experts.down"), vector_of(golden.d_down_proj)) < fewer);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("golden: Qwen3-MoE, gates as they are", "[layer][golden]", moe::BestEngine, moe::PortableTeams) {
  check<double, moe::Keep, TestType>(qwen3.kept);
}
TEST_CASE("golden: Qwen3-MoE, norm_topk_prob", "[layer][golden]") {
  check<double, moe::Normalise, moe::BestEngine>(qwen3.normalised);
  check<double, moe::Normalise, moe::BestEngine>(qwen3.top3);
  check<float, moe::Normalise, moe::BestEngine>(qwen3.normalised);
}
