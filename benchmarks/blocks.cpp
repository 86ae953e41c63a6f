/// What a block costs, forward and backward, per token of 1024. Blocks around another one are all around the same layer,
/// (hidden, intermediate, experts, top_k) = (1024, 512, 8, 2): the first of the list below, and their floor. A block is
/// one line.

#include "support/shared.hpp"
#include "support/tokens.hpp"

#include <moe/moe.hpp>

#include <benchmark/benchmark.h>

#include <string>
#include <utility>

namespace {

using bench::Exec;

constexpr int hidden = 1024, intermediate = 512;

/// A block with all that running and training it takes.
template <class BlockT>
struct Run {
  Exec exec;
  BlockT block;
  typename BlockT::template Parameters<Exec> parameters;
  typename BlockT::template Gradients<Exec> gradients;
  decltype(block.workspace(exec, 1)) workspace;
  decltype(block.tape(exec, 1)) tape;
  bench::Tokens x, y, dx;

  Run(const BlockT& block_, int num_tokens)
      : block(block_),
        parameters(block.parameters(exec, 1)),
        gradients(block.gradients(exec)),
        workspace(block.workspace(exec, num_tokens)),
        tape(block.tape(exec, num_tokens)),
        x(bench::random_tokens(num_tokens, hidden, 1)),
        y("bench::y", num_tokens, hidden),
        dx("bench::dx", num_tokens, hidden) {}

  void forward() { block.forward(exec, parameters, x, y, workspace); }
  void forward_with_tape() { block.forward(exec, parameters, x, y, tape, workspace); }
  void backward() { block.backward(exec, parameters, tape, y, dx, gradients, workspace); }
};

template <class BlockT>
bool add(const std::string& name, const BlockT& block) {
  using RunT = Run<BlockT>;
  const std::pair<const char*, void (RunT::*)()> parts[] = {
      {"forward", &RunT::forward}, {"forward_with_tape", &RunT::forward_with_tape}, {"backward", &RunT::backward}};
  for (const auto& [part_name, part] : parts) {
    const auto body = [=, part = part](benchmark::State& state) {
      const int num_tokens = int(state.range(0));
      RunT& run = *bench::shared(name + "/" + std::to_string(num_tokens), [&] { return RunT(block, num_tokens); });
      run.forward_with_tape();  // what backward goes back from
      for (auto _ : state) bench::timed(state, [&] { (run.*part)(); });
      bench::report_per_token(state, num_tokens);
    };
    auto* const added = benchmark::RegisterBenchmark((name + "/" + part_name).c_str(), body);
    added->ArgName("T")->Arg(1)->Arg(64)->Arg(512)->UseManualTime()->Unit(benchmark::kMicrosecond);
  }
  return true;
}

const moe::Shape<> shape{.experts = 8, .hidden = hidden, .intermediate = intermediate};
const moe::Layer layer{shape, moe::SoftmaxTopK<2>{}, moe::SwiGlu{}};
const moe::RmsNorm norm{hidden};

const bool added[] = {
    add("layer", layer),
    add("shared", moe::Shared{layer, moe::SwiGlu{}, intermediate}),
    add("shared_with_gate", moe::Shared{layer, moe::SwiGlu{}, intermediate, moe::SigmoidGate{}}),
    add("token_skip", moe::TokenSkip{layer}),
    add("residual", moe::Residual{layer}),
    add("chain", moe::Chain{norm, layer}),
    add("soft_mixture", moe::SoftMixture{shape, moe::SwiGlu{}, moe::SoftSlots{.per_expert = 8}}),
    add("rms_norm", norm),
    add("linear", moe::Linear{hidden, hidden}),
};

}  // namespace
