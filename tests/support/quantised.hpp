#pragma once

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <map>
#include <moe/moe.hpp>
#include <string>
#include <support/float16.hpp>
#include <support/parameters.hpp>
#include <support/views.hpp>
#include <type_traits>
#include <vector>

/// \file
/// What the tests of layers with weights of another type share: they are compared with a layer in double whose weights are the
/// values of the coded ones.
namespace test::coded {

using float16::copy;
using float16::hidden;
using float16::run;
using float16::tokens;

/// Sizes that fill neither panels nor groups.
template <class PrecisionT, class EngineT = moe::BestEngine, class ExpertT = moe::SwiGlu>
auto layer(const PrecisionT& precision, const EngineT& engine = {}, const ExpertT& expert = {}) {
  return moe::Layer{moe::Shape<>{.experts = 5, .hidden = hidden, .intermediate = 52},
                    moe::SigmoidTopK<3, moe::Normalise>(),
                    expert,
                    moe::Balance{moe::SwitchLoss{}, moe::ZLoss{}},
                    moe::Dropless(),
                    precision,
                    engine};
}
template <class LayerT>
auto scattered(const LayerT& layer) {
  auto p = layer.parameters(Exec());
  scatter(p, 1, 0.4);
  return p;
}

/// f() with each instruction set that this machine runs.
template <class F>
void for_each_isa(const F& f) {
  const moe::HostIsa best = moe::host_isa();
  for (const moe::HostIsa isa : moe::all_host_isas) {
    if (!moe::is_supported(isa)) continue;
    moe::set_host_isa(isa);
    INFO(moe::name(isa));
    f();
  }
  moe::set_host_isa(best);
}

/// y, dx and the gradients that there are; rows that are rounded bring an error of their own.
template <class T, class WeightT, class EngineT = moe::BestEngine, class RowT = moe::ExactRows>
void check_values() {
  const auto narrow = layer(moe::Precision<T, WeightT, RowT>(), EngineT());
  const auto wide = layer(moe::Precision<double>(), moe::PortableTeams());  // the sooner compiled
  const auto p = scattered(narrow);
  auto q = wide.parameters(Exec());
  copy(p, q);
  const auto x = uniform<T>(5, tokens * hidden), dy = uniform<T>(6, tokens * hidden);
  const auto expected = run(wide, q, x, dy);
  double bound = tolerance<float>;
  if constexpr (moe::is_float16_v<T>) bound = float16::rounding<T>;
  if constexpr (!std::is_same_v<RowT, moe::ExactRows>) bound += 0.02;
  for_each_isa([&] {
    const auto got = run(narrow, p, x, dy);
    CHECK(got.contains("router.weight"));
    CHECK(got.contains("experts.gate_up") == !moe::is_quantised_v<WeightT>);
    for (const auto& [name, values] : got) {
      CAPTURE(name);
      CHECK(error(values, expected.at(name)) < bound);
    }
  });
}

/// A token alone and among others has the same bits.
template <class T, class WeightT, class RowT = moe::ExactRows>
void check_batches() {
  const auto one = layer(moe::Precision<T, WeightT, RowT>());
  const auto p = scattered(one);
  const auto x = uniform<T>(7, tokens * hidden);
  const auto infer = [&](int first, int count) {
    auto workspace = one.workspace(Exec(), count, moe::Use::inference);
    const auto y = rows<T>(count, hidden);
    one.forward(Exec(), p, rows<T>(slice(x, std::size_t(first) * hidden, std::size_t(count) * hidden), count, hidden),
                y, workspace);
    return cast<double>(to_host(y));
  };
  for_each_isa([&] {
    const auto all = infer(0, tokens);
    int wrong = 0;
    for (int t = 0; t < tokens; ++t) wrong += infer(t, 1) != slice(all, std::size_t(t) * hidden, hidden);
    for (int t = 0; t + 7 <= tokens; t += 7) {
      wrong += infer(t, 7) != slice(all, std::size_t(t) * hidden, std::size_t(7) * hidden);
    }
    CHECK(wrong == 0);
  });
}

/// Both.
template <class T, class WeightT, class RowT = moe::ExactRows>
void check() {
  check_values<T, WeightT, moe::BestEngine, RowT>();
  check_batches<T, WeightT, RowT>();
}

}  // namespace test::coded
