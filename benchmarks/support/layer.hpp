#pragma once

#include "report.hpp"
#include "shared.hpp"
#include "tokens.hpp"

#include <moe/moe.hpp>

#include <benchmark/benchmark.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

/// \file
/// A whole layer and its parts as benchmarks: forward, forward with tape, backward, and what they are made of.

namespace bench {

/// A batch with its routing and plan.
template <class LayerT>
struct Batch {
  Tokens x;
  decltype(std::declval<LayerT>().make_routing(Exec(), 1)) routing;
  decltype(std::declval<LayerT>().make_plan(Exec(), 1)) plan;
  std::vector<int> load;
  int experts_hit = 0;
};

/// A layer with all that running and training it takes, for up to max_tokens tokens.
template <class LayerT>
class LayerModel {
  using Parameters = typename LayerT::template Parameters<Exec>;
  using Gradients = typename LayerT::template Gradients<Exec>;

 public:
  Exec exec;
  LayerT layer;
  Parameters parameters;
  decltype(std::declval<LayerT>().workspace(Exec(), 1)) workspace;
  decltype(std::declval<LayerT>().tape(Exec(), 1)) tape;
  double weights_per_expert = 0;
  std::map<std::string, double> counters;  ///< what goes into every row of figures

  LayerModel(const LayerT& layer_, int max_tokens)
      : layer(layer_),
        parameters(layer.parameters(exec, 1)),
        workspace(layer.workspace(exec, max_tokens)),
        tape(layer.tape(exec, max_tokens)) {
    moe::for_each_tensor([&](const auto& tensor) { weights_per_expert += double(tensor.size()); }, parameters.experts);
    weights_per_expert /= layer.shape().experts;
  }

  /// As large as the parameters: made where they are asked for.
  const Gradients& gradients() {
    if (!gradients_) gradients_ = layer.gradients(exec);
    return *gradients_;
  }

  /// Of so many tokens; those of another number go.
  const std::vector<Batch<LayerT>>& batches(int num_tokens) {
    if (!batches_.empty() && int(batches_[0].x.extent(0)) == num_tokens) return batches_;
    batches_.clear();
    for (const Tokens& x : token_batches(num_tokens, layer.hidden())) {
      Batch<LayerT> batch{x, layer.make_routing(exec, num_tokens), layer.make_plan(exec, num_tokens), {}};
      layer.route(exec, parameters, x, batch.routing, workspace);
      layer.plan(exec, batch.routing, batch.plan, workspace);
      const auto load = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), batch.plan.load);
      batch.load.assign(load.data(), load.data() + load.size());
      for (const int tokens : batch.load) batch.experts_hit += tokens > 0;
      batches_.push_back(batch);
    }
    return batches_;
  }

  moe::Context<typename LayerT::template TypesOf<Exec>> context(int num_tokens) const {
    return {exec, layer.shape(), workspace.engine, num_tokens};
  }

 private:
  std::optional<Gradients> gradients_;
  std::vector<Batch<LayerT>> batches_;
};

/// What a layer is measured by. Each function is a benchmark of one part.
template <class LayerT>
class LayerBenchmark {
  using BatchT = Batch<LayerT>;

 public:
  explicit LayerBenchmark(LayerModel<LayerT>& model) : m_(model) {}

  void forward(benchmark::State& state) const {
    over_batches(
        state, [&](const BatchT& batch) { return products(batch, 1); },
        [&](const BatchT& batch, const Tokens& y) {
          m_.layer.forward(m_.exec, m_.parameters, batch.x, y, m_.workspace);
        });
  }

  void forward_with_tape(benchmark::State& state) const {
    over_batches(
        state, [&](const BatchT& batch) { return products(batch, 1); },
        [&](const BatchT& batch, const Tokens& y) {
          m_.layer.forward(m_.exec, m_.parameters, batch.x, y, m_.tape, m_.workspace);
        });
  }

  /// dX and dW: twice the arithmetic of forward. Gradients of every expert are written.
  void backward(benchmark::State& state) const {
    const auto& gradients = m_.gradients();
    const Tokens dx("bench::dx", state.range(0), m_.layer.hidden());
    const auto work = [&](const BatchT& batch) {
      Work work = products(batch, 2);
      work.bytes = sizeof(float) * m_.weights_per_expert * (batch.experts_hit + m_.layer.shape().experts);
      return work;
    };
    over_batches(
        state, work,
        [&](const BatchT&, const Tokens& y) {
          m_.layer.backward(m_.exec, m_.parameters, m_.tape, y, dx, gradients, m_.workspace);
        },
        [&](const BatchT& batch, const Tokens& y) {
          m_.layer.forward(m_.exec, m_.parameters, batch.x, y, m_.tape, m_.workspace);
        });
  }

  void route(benchmark::State& state) const {
    const auto work = [&](const BatchT& batch) {
      const double size = double(m_.layer.hidden()) * m_.layer.shape().experts;
      return Work{2 * size * double(batch.x.extent(0)), sizeof(float) * size};
    };
    over_batches(state, work, [&](const BatchT& batch, const Tokens&) {
      m_.layer.route(m_.exec, m_.parameters, batch.x, batch.routing, m_.workspace);
    });
  }

  void plan(benchmark::State& state) const {
    over_batches(
        state, [](const BatchT&) { return Work{}; },
        [&](const BatchT& batch, const Tokens&) { m_.layer.plan(m_.exec, batch.routing, batch.plan, m_.workspace); });
    report_load(state, m_.batches(int(state.range(0)))[0].load);
  }

  /// The grouped products, without route, plan and combine.
  void experts(benchmark::State& state) const {
    over_batches(
        state, [&](const BatchT& batch) { return products(batch, 1); },
        [&](const BatchT& batch, const Tokens&) {
          const int num_tokens = int(batch.x.extent(0)), hidden = m_.layer.hidden();
          const moe::RowSource<float> x{.data = batch.x.data(), .stride = hidden, .index = batch.plan.tokens.data()};
          m_.layer.expert().forward(m_.context(num_tokens), m_.parameters.experts,
                                    batch.plan.segments(num_tokens * m_.layer.slots()), x, m_.workspace.rows,
                                    moe::NoTape{}, m_.workspace.experts);
        });
  }

  void combine(benchmark::State& state) const {
    const auto work = [&](const BatchT& batch) {
      const double elements = double(batch.x.extent(0)) * m_.layer.slots() * m_.layer.hidden();
      return Work{2 * elements, sizeof(float) * elements};
    };
    over_batches(state, work, [&](const BatchT& batch, const Tokens& y) {
      const moe::Matrix<float, Exec::memory_space> out(y);
      m_.layer.dispatcher().combine(m_.context(int(batch.x.extent(0))), batch.routing, batch.plan, m_.workspace.rows,
                                    out, 0);
    });
  }

 private:
  /// So many times the products of the experts that a batch hits.
  Work products(const BatchT& batch, int times) const {
    const double assignments = double(batch.x.extent(0)) * m_.layer.slots();
    return {2 * times * m_.weights_per_expert * assignments, sizeof(float) * m_.weights_per_expert * batch.experts_hit};
  }

  struct Nothing {
    void operator()(const BatchT&, const Tokens&) const {}
  };

  /// Runs body(batch, y) on one batch after the other, before(batch, y) ahead of it and off the clock, and reports
  /// work(batch).
  template <class WorkF, class F, class BeforeF = Nothing>
  void over_batches(benchmark::State& state, const WorkF& work_of, const F& body, const BeforeF& before = {}) const {
    const int num_tokens = int(state.range(0));
    const auto& all = m_.batches(num_tokens);
    const Tokens y("bench::y", num_tokens, m_.layer.hidden());
    before(all[0], y);
    body(all[0], y);  // warm: page tables, clocks
    Work work;
    std::size_t next = 0;
    for (auto _ : state) {
      const BatchT& batch = all[next++ % all.size()];
      before(batch, y);
      timed(state, [&] { body(batch, y); });
      work += work_of(batch);
    }
    report_work(state, work);
    report_per_token(state, num_tokens);
    state.counters["E"] = int(m_.layer.shape().experts);
    state.counters["K"] = m_.layer.slots();
    for (const auto& [name, value] : m_.counters) state.counters[name] = value;
  }

  LayerModel<LayerT>& m_;
};

/// Registers all of it under `prefix`, at each number of tokens; make(max_tokens) gives the layer's model.
template <class MakeT>
bool add_layer(const std::string& prefix, const std::vector<int>& tokens, const MakeT& make) {
  using LayerT = decltype(make().layer);
  using BenchmarkT = LayerBenchmark<LayerT>;
  const std::pair<const char*, void (BenchmarkT::*)(benchmark::State&) const> parts[] = {
      {"forward", &BenchmarkT::forward},   {"forward_with_tape", &BenchmarkT::forward_with_tape},
      {"route", &BenchmarkT::route},       {"plan", &BenchmarkT::plan},
      {"experts", &BenchmarkT::experts},   {"combine", &BenchmarkT::combine},
      {"backward", &BenchmarkT::backward},  // last: its gradients take as much memory as the parameters
  };
  for (const auto& [name, part] : parts) {
    auto* const added = benchmark::RegisterBenchmark(
        (prefix + name).c_str(),
        [=, part = part](benchmark::State& state) { (BenchmarkT(*shared(prefix, make)).*part)(state); });
    added->ArgName("T")->UseManualTime()->Unit(benchmark::kMillisecond);
    for (const int num_tokens : tokens) added->Arg(num_tokens);
  }
  return true;
}

}  // namespace bench
