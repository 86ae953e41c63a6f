/// The layer (hidden, intermediate, experts, top_k) = (2048, 1024, 64, 8) in every type of rows and weights, forward: what
/// weights of fewer bytes gain. Limits are those of the type: bytes as stored, and the peak of what multiplies them.
///
///     f32_int4_int8    Precision<float, int4, int8>: rows of float, weights of four bits, rows rounded to a byte

#include "support/report.hpp"
#include "support/shared.hpp"

#include <moe/moe.hpp>

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using bench::Exec;

constexpr int hidden = 2048, intermediate = 1024, num_experts = 64, top_k = 8, max_tokens = 4096;

/// The peak of what multiplies rows and weights of these types.
template <class P>
double peak() {
  const bench::Machine& machine = bench::this_machine();
  constexpr bool pairs =
      std::is_same_v<typename P::storage, moe::bfloat16> &&
      (std::is_same_v<typename P::weights, moe::bfloat16> || moe::is_quantised_v<typename P::weights>);
  if (std::is_same_v<typename P::rows, moe::int8>) return machine.byte_peak;
  return pairs ? machine.pair_peak : machine.fma_peak;
}

template <class T>
struct Fill {
  Kokkos::View<T**, Kokkos::LayoutRight, Exec> tokens;
  moe::Random random;
  KOKKOS_FUNCTION void operator()(std::int64_t i) const {
    tokens.data()[i] = T(random.normal<float>(std::uint64_t(i)));
  }
};

template <class P>
struct Model {
  using Storage = typename P::storage;
  using LayerT = moe::Layer<moe::Shape<num_experts, hidden, intermediate>, moe::SoftmaxTopK<top_k>, moe::SwiGlu,
                            moe::NoBalance, moe::Dropless, P>;
  Exec exec;
  LayerT layer{{}};
  typename LayerT::template Parameters<Exec> parameters = layer.parameters(exec, 1);
  decltype(layer.workspace(exec, 1)) workspace = layer.workspace(exec, max_tokens, moe::Use::inference);
  Kokkos::View<Storage**, Kokkos::LayoutRight, Exec> x{"bench::x", max_tokens, hidden},
      y{"bench::y", max_tokens, hidden};

  Model() {
    Kokkos::parallel_for("bench::fill", Kokkos::RangePolicy<Exec, Kokkos::IndexType<std::int64_t>>(0, x.size()),
                         Fill<Storage>{x, {1, 2}});
  }
  double bytes_per_expert() const {
    return double(parameters.experts.in.storage.size() + parameters.experts.down.storage.size()) *
           sizeof(typename P::weights) / num_experts;
  }
};

template <class P>
void forward(benchmark::State& state, Model<P>& m) {
  const int num_tokens = int(state.range(0)), batches = max_tokens / num_tokens;
  bench::Work work;
  int next = 0;
  const auto batch = [&](const auto& view, int first) {
    return Kokkos::subview(view, Kokkos::pair<int, int>(first, first + num_tokens), Kokkos::ALL);
  };
  const auto run = [&] {
    m.layer.forward(m.exec, m.parameters, batch(m.x, next++ % batches * num_tokens), batch(m.y, 0), m.workspace);
  };
  run();
  for (auto _ : state) {
    bench::timed(state, run);
    int hit = 0;
    const auto load = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), m.workspace.plan.load);
    for (int e = 0; e < num_experts; ++e) hit += load(e) > 0;
    work += {6.0 * hidden * intermediate * num_tokens * top_k, m.bytes_per_expert() * hit};
  }
  bench::report_work(state, work, peak<P>());
  bench::report_per_token(state, num_tokens);
  state.counters["MB"] = m.bytes_per_expert() * num_experts * 1e-6;
}

template <class P>
bool add(const std::string& name) {
  auto* const added = benchmark::RegisterBenchmark(("forward/" + name).c_str(), [name](benchmark::State& state) {
    forward<P>(state, *bench::shared(name, [] { return Model<P>(); }));
  });
  added->ArgName("T")->Arg(1)->Arg(16)->Arg(512)->Arg(4096)->UseManualTime()->Unit(benchmark::kMillisecond);
  return true;
}

using moe::bfloat16, moe::half, moe::int4, moe::int8, moe::mxfp4, moe::Precision;

const bool added[] = {
    add<Precision<float>>("f32"),
    add<Precision<bfloat16>>("bf16"),
    add<Precision<half>>("half"),
    add<Precision<float, bfloat16>>("f32_bf16"),
    add<Precision<float, int8>>("f32_int8"),
    add<Precision<float, int8, int8>>("f32_int8_int8"),
    add<Precision<bfloat16, int8>>("bf16_int8"),
    add<Precision<float, int4>>("f32_int4"),
    add<Precision<float, int4, int8>>("f32_int4_int8"),
    add<Precision<bfloat16, int4>>("bf16_int4"),
    add<Precision<float, mxfp4, int8>>("f32_mxfp4_int8"),
};

}  // namespace
