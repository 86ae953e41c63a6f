#pragma once

#include <map>
#include <moe/core/types.hpp>
#include <string>
#include <support/compare.hpp>
#include <support/parameters.hpp>
#include <support/views.hpp>
#include <type_traits>
#include <vector>

namespace test {

/// What a forward pass of a layer left behind, on the host.
template <class LayerT>
struct Outcome {
  using storage = typename LayerT::storage;
  using compute = typename LayerT::compute;

  std::vector<storage> y;
  std::vector<compute> losses, gates, scores, logits, plan_gates;
  std::vector<int> ids, offsets, tokens, rows, plan_load, load;
  int dropped = 0, non_finite = 0;
};

template <class LayerT, class TapeT>
Outcome<LayerT> read(const LayerT& layer, const TapeT& tape, int num_tokens) {
  const int experts = layer.shape().experts;
  const auto routing = tape.routing.first(num_tokens);
  const auto plan = tape.plan.first(num_tokens);
  Outcome<LayerT> outcome;
  outcome.losses = to_host(tape.losses);
  outcome.ids = to_host(routing.ids);
  outcome.gates = to_host(routing.gates);
  outcome.scores = to_host(routing.scores, experts);
  outcome.logits = to_host(routing.logits, experts);
  outcome.offsets = to_host(plan.offsets);
  outcome.rows = to_host(plan.rows);
  outcome.plan_load = to_host(plan.load);
  outcome.load = to_host(tape.load);
  outcome.dropped = to_host(tape.dropped)[0];
  outcome.non_finite = to_host(tape.non_finite)[0];
  const int rows = outcome.offsets.back();
  outcome.tokens = slice(to_host(plan.tokens), 0, rows);
  outcome.plan_gates = slice(to_host(plan.gates), 0, rows);
  return outcome;
}

/// A training forward pass of x [tokens, hidden] on a tape and a workspace of its own.
template <class LayerT, class ParametersT, class FromT>
Outcome<LayerT> forward(const LayerT& layer, const ParametersT& p, const std::vector<FromT>& x) {
  using T = typename LayerT::storage;
  const int hidden = layer.hidden(), tokens = int(x.size()) / hidden;
  const Exec exec;
  auto workspace = layer.workspace(exec, tokens);
  auto tape = layer.tape(exec, tokens);
  const auto in = rows<T>(x, tokens, hidden), y = rows<T>(tokens, hidden);
  layer.forward(exec, p, in, y, tape, workspace);
  auto outcome = read(layer, tape, tokens);
  outcome.y = to_host(y);
  return outcome;
}

/// The gradients by every trainable tensor, and by "x", of <dy, y> + loss_scale * losses.
template <class LayerT, class ParametersT, class FromT>
std::map<std::string, std::vector<double>> gradients(const LayerT& layer, const ParametersT& p,
                                                     const std::vector<FromT>& x, const std::vector<double>& dy,
                                                     const moe::Backward& options = {}) {
  using T = typename LayerT::storage;
  const int hidden = layer.hidden(), tokens = int(x.size()) / hidden;
  const Exec exec;
  auto workspace = layer.workspace(exec, tokens);
  auto tape = layer.tape(exec, tokens);
  auto g = layer.gradients(exec);
  const auto in = rows<T>(x, tokens, hidden), y = rows<T>(tokens, hidden), dx = rows<T>(tokens, hidden);
  layer.forward(exec, p, in, y, tape, workspace);
  layer.backward(exec, p, tape, rows<T>(dy, tokens, hidden), dx, g, workspace, options);
  auto values = values_of(g);
  values["x"] = cast<double>(to_host(dx));
  return values;
}

/// The references' view of a layer's parameters.
template <class TensorT>
std::vector<double> doubles(const TensorT& tensor) {
  return cast<double>(moe::to_host(tensor));
}

}  // namespace test
