/// The whole layer and its parts, (hidden, intermediate, experts, top_k) = (2048, 1024, 64, 8) in float, at 1, 16 and
/// 512 tokens, fresh tokens in each iteration.

#include "support.hpp"

#include <memory>
#include <vector>

namespace {

using bench::Exec;

constexpr int hidden = 2048, intermediate = 1024, num_experts = 64, top_k = 8, max_tokens = 512;

using LayerT =
    moe::Layer<moe::Shape<num_experts, hidden, intermediate>, moe::SoftmaxTopK<top_k>, moe::SwiGlu, moe::SwitchLoss>;

/// What all benchmarks share: the weights are 1.6 GB, the gradients as much again.
struct Model {
  Exec exec;
  LayerT layer{{}};
  decltype(layer.parameters(exec)) parameters = layer.parameters(exec, 1);
  decltype(layer.workspace(exec, 1)) workspace = layer.workspace(exec, max_tokens);
  decltype(layer.tape(exec, 1)) tape = layer.tape(exec, max_tokens);
};

std::unique_ptr<Model> shared;

Model& model() {
  if (!shared) shared = std::make_unique<Model>();
  return *shared;
}

constexpr double weights_per_expert = 3.0 * hidden * intermediate;

/// A batch with its routing and plan.
struct Batch {
  bench::Tokens x;
  decltype(std::declval<LayerT>().make_routing(Exec(), 1)) routing;
  decltype(std::declval<LayerT>().make_plan(Exec(), 1)) plan;
  int experts_hit = 0;
};

std::vector<Batch> batches(int num_tokens) {
  Model& m = model();
  std::vector<Batch> result;
  for (const auto& x : bench::token_batches(num_tokens, hidden)) {
    Batch batch{x, m.layer.make_routing(m.exec, num_tokens), m.layer.make_plan(m.exec, num_tokens)};
    m.layer.route(m.exec, m.parameters, x, batch.routing, m.workspace);
    m.layer.plan(m.exec, batch.routing, batch.plan, m.workspace);
    const auto load = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), batch.plan.load);
    for (int e = 0; e < num_experts; ++e) batch.experts_hit += load(e) > 0;
    result.push_back(batch);
  }
  return result;
}

/// The two products of the experts that a batch hits.
bench::Work of_experts(const Batch& batch) {
  const double assignments = double(batch.x.extent(0)) * top_k;
  return {2 * weights_per_expert * assignments, sizeof(float) * weights_per_expert * batch.experts_hit};
}

/// Runs body(batch, y) on one batch after the other and reports work(batch).
template <class WorkF, class F>
void over_batches(benchmark::State& state, const WorkF& work_of, const F& body) {
  const int num_tokens = int(state.range(0));
  const auto all = batches(num_tokens);
  const bench::Tokens y("bench::y", num_tokens, hidden);
  for (const Batch& batch : all) body(batch, y);  // warm: page tables, clocks
  bench::Work work;
  std::size_t next = 0;
  for (auto _ : state) {
    const Batch& batch = all[next++ % all.size()];
    bench::timed(state, [&] { body(batch, y); });
    work += work_of(batch);
  }
  bench::report(state, work);
}

void forward(benchmark::State& state) {
  Model& m = model();
  over_batches(state, of_experts, [&](const Batch& batch, const auto& y) {
    m.layer.forward(m.exec, m.parameters, batch.x, y, m.workspace);
  });
}

void forward_with_tape(benchmark::State& state) {
  Model& m = model();
  over_batches(state, of_experts, [&](const Batch& batch, const auto& y) {
    m.layer.forward(m.exec, m.parameters, batch.x, y, m.tape, m.workspace);
  });
}

/// dX and dW: twice the arithmetic of forward. Gradients of every expert are written.
void backward(benchmark::State& state) {
  Model& m = model();
  const auto gradients = m.layer.gradients(m.exec);
  const auto all = batches(int(state.range(0)));
  const bench::Tokens y("bench::y", int(state.range(0)), hidden), dx("bench::dx", int(state.range(0)), hidden);
  bench::Work work;
  std::size_t next = 0;
  for (auto _ : state) {
    const Batch& batch = all[next++ % all.size()];
    m.layer.forward(m.exec, m.parameters, batch.x, y, m.tape, m.workspace);
    bench::timed(state, [&] { m.layer.backward(m.exec, m.parameters, m.tape, y, dx, gradients, m.workspace); });
    work += {4 * weights_per_expert * double(state.range(0)) * top_k,
             sizeof(float) * weights_per_expert * (batch.experts_hit + num_experts)};
  }
  bench::report(state, work);
}

void route(benchmark::State& state) {
  Model& m = model();
  const auto work = [](const Batch& batch) {
    const double size = double(hidden) * num_experts;
    return bench::Work{2 * size * double(batch.x.extent(0)), sizeof(float) * size};
  };
  over_batches(state, work, [&](const Batch& batch, const auto&) {
    m.layer.route(m.exec, m.parameters, batch.x, batch.routing, m.workspace);
  });
}

void plan(benchmark::State& state) {
  Model& m = model();
  const auto none = [](const Batch&) { return bench::Work{}; };
  over_batches(state, none,
               [&](const Batch& batch, const auto&) { m.layer.plan(m.exec, batch.routing, batch.plan, m.workspace); });
}

/// The two grouped products, without route, plan and combine.
void experts(benchmark::State& state) {
  Model& m = model();
  over_batches(state, of_experts, [&](const Batch& batch, const auto&) {
    const int num_tokens = int(batch.x.extent(0));
    const moe::Context<LayerT::TypesOf<Exec>> context{m.exec, m.layer.shape(), m.workspace.engine, num_tokens};
    const moe::RowSource<float> x{.data = batch.x.data(), .stride = hidden, .index = batch.plan.tokens.data()};
    m.layer.expert().forward(context, m.parameters.experts, batch.plan.segments(num_tokens * top_k), x,
                             m.workspace.rows, moe::NoTape{}, m.workspace.experts);
  });
}

void combine(benchmark::State& state) {
  Model& m = model();
  const auto work = [](const Batch& batch) {
    const double rows = double(batch.x.extent(0)) * top_k;
    return bench::Work{2 * hidden * rows, sizeof(float) * hidden * rows};
  };
  over_batches(state, work, [&](const Batch& batch, const auto& y) {
    const moe::Context<LayerT::TypesOf<Exec>> context{m.exec, m.layer.shape(), m.workspace.engine,
                                                      int(batch.x.extent(0))};
    const moe::Matrix<float, Exec::memory_space> out(y);
    m.layer.dispatcher().combine(context, batch.routing, batch.plan, m.workspace.rows, out, 0);
  });
}

void tokens(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("T")->Arg(1)->Arg(16)->Arg(512)->UseManualTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK(forward)->Apply(tokens);
BENCHMARK(forward_with_tape)->Apply(tokens);
BENCHMARK(backward)->Apply(tokens);
BENCHMARK(route)->Apply(tokens);
BENCHMARK(plan)->Apply(tokens);
BENCHMARK(experts)->Apply(tokens);
BENCHMARK(combine)->Apply(tokens);

}  // namespace

int main(int argc, char** argv) {
  return bench::run(argc, argv, [] { shared.reset(); });
}
