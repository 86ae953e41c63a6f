// What a training step takes besides parameters, gradients and x: the pre-activations, and scratch that does not grow with the
// number of experts, but for what every router keeps of a token for each of them.

#include <moe/moe.hpp>

#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <support/views.hpp>

namespace {

constexpr int hidden = 64, intermediate = 96, k = 2;

struct Bytes {
  std::int64_t tape, workspace;
};

Bytes bytes_of(int experts, int tokens) {
  const moe::Layer layer{moe::Shape<>{.experts = experts, .hidden = hidden, .intermediate = intermediate},
                         moe::SoftmaxTopK<k>(), moe::SwiGlu(), moe::SwitchLoss()};
  const test::Exec exec;
  return {std::int64_t(layer.tape_bytes(exec, tokens)), std::int64_t(layer.workspace_bytes(exec, tokens))};
}

}  // namespace

TEST_CASE("memory: scratch does not grow with the experts", "[layer][memory]") {
  const int tokens = 512, few = 4, many = 1024;
  const Bytes small = bytes_of(few, tokens), large = bytes_of(many, tokens);
  const std::int64_t matrix_of_experts = std::int64_t(many - few) * tokens * sizeof(float);
  const std::int64_t numbers_of_experts = std::int64_t(many - few) * 64 * sizeof(float);
  CHECK(large.tape - small.tape <= 2 * matrix_of_experts + numbers_of_experts);                 // logits, scores
  CHECK(large.workspace - small.workspace <= 4 * matrix_of_experts + numbers_of_experts * 16);  // and their gradients
}

TEST_CASE("memory: the tape is the pre-activations and what the router keeps", "[layer][memory]") {
  const int experts = 8, tokens = 4096;
  const std::int64_t rows = tokens * k, pre_activations = rows * 2 * intermediate * std::int64_t(sizeof(float));
  const Bytes bytes = bytes_of(experts, tokens);
  CHECK(bytes.tape >= pre_activations);
  CHECK(bytes.tape <= pre_activations + tokens * (2 * 16 + 16 * k) * std::int64_t(sizeof(float)) + 65536);
}
