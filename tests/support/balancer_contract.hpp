#pragma once

#include <moe/moe.hpp>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <reference/balancer.hpp>
#include <string>
#include <support/balancers.hpp>
#include <support/compare.hpp>
#include <support/gradient_check.hpp>
#include <support/parameters.hpp>
#include <support/views.hpp>
#include <vector>

/// \file
/// What every balancer that adds one loss must keep. A new one joins with one line:
///
///     test::check_balancer(moe::ZLoss{.weight = 0.5f}, [](const reference::Batch& b) { return 0.5 * reference::z_loss(b); });
namespace test {

/// What is not the same for all balancers.
template <class RouterT = moe::SigmoidTopK<2, moe::Normalise>>
struct BalancerContract {
  RouterT router{};       ///< of the layer whose gradients are checked
  bool nan_stays = true;  ///< a token that is NaN leaves the others' gradients alone
  double layer_tolerance = 1e-6;
};

namespace balancer_contract {

using Loss = std::function<double(const reference::Batch&)>;

enum class Scores { softmax, sigmoid, logits };

/// Something to look at: skewed loads, some slots empty, noise; all of it exact in float.
inline reference::Batch batch(int tokens, int experts, int k, Scores kind, double bound = 2) {
  reference::Batch b{.tokens = tokens,
                     .experts = experts,
                     .slots = k,
                     .sum_to_one = kind == Scores::softmax,
                     .are_logits = kind == Scores::logits};
  for (int t = 0; t < tokens; ++t) {
    auto clean = uniform<float>(3 * t + 1, experts, bound), noise = uniform<float>(3 * t + 2, experts, 2);
    auto scale = uniform<float>(3 * t + 3, experts, 0.25);
    reference::Values z(experts);
    for (int e = 0; e < experts; ++e) {
      clean[e] = float(clean[e] + bound * e / experts);  // the later experts are chosen more often
      scale[e] = float(scale[e] + 0.5);
      z[e] = float(clean[e] + noise[e] * scale[e]);
    }
    auto s = kind == Scores::softmax ? reference::softmax(z) : kind == Scores::sigmoid ? reference::sigmoid(z) : z;
    for (double& each : s) each = float(each);
    auto ids = reference::top_k(s, {}, k);
    auto gates = reference::normalise(kind == Scores::logits ? reference::softmax(z) : s, ids);
    for (double& each : gates) each = float(each);
    if (k > 1 && t % 5 == 2) ids[k - 1] = -1, gates[k - 1] = 0;  // as a router leaves it that takes fewer
    const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
    append(b.clean, clean), append(b.scale, scale), append(b.logits, z), append(b.scores, s);
    append(b.ids, ids), append(b.gates, gates);
  }
  for (int e = 0; e < experts; ++e) b.earlier_load.push_back(3 * (experts - e));
  return b;
}

/// Overwrites what belongs to a token.
inline void spoil(reference::Batch& b, int t, double value) {
  for (auto* matrix : {&b.clean, &b.scale, &b.logits, &b.scores}) {
    std::fill_n(matrix->begin() + long(t) * b.experts, b.experts, value);
  }
  std::fill_n(b.gates.begin() + long(t) * b.slots, b.slots, value);
}

/// Padding here and there, with NaN in it.
inline reference::Batch with_padding(reference::Batch b) {
  for (int t = 0; t < b.tokens; ++t) {
    b.real.push_back(t % 4 != 1 && t % 7 != 0 && t != b.tokens - 1);
    if (b.real[t]) continue;
    spoil(b, t, not_a_number);
    for (int slot = 0; slot < b.slots; ++slot) b.ids[t * b.slots + slot] = -1, b.gates[t * b.slots + slot] = 0;
  }
  return b;
}

/// Every token with the same scores and the same k experts.
inline reference::Batch collapsed(int tokens, int experts, int k, double distance) {
  reference::Batch b{.tokens = tokens, .experts = experts, .slots = k, .sum_to_one = true};
  for (int t = 0; t < tokens; ++t) {
    for (int e = 0; e < experts; ++e) {
      b.logits.push_back(e < k ? distance + e : -e), b.clean.push_back(b.logits.back()), b.scale.push_back(0.5);
    }
    const auto s = reference::softmax(reference::row(b.logits, experts, t));
    b.scores.insert(b.scores.end(), s.begin(), s.end());
    for (int slot = 0; slot < k; ++slot) b.ids.push_back(slot), b.gates.push_back(1.0 / k);
  }
  return b;
}

/// Tokens that no expert got, the first half of them or all; of the batches before neither.
inline reference::Batch unrouted(int tokens, int experts, int k, bool all) {
  reference::Batch b = batch(tokens, experts, k, Scores::softmax);
  const long slots = long(all ? tokens : tokens / 2) * k;
  std::fill_n(b.ids.begin(), slots, -1);
  std::fill_n(b.gates.begin(), slots, 0.0);
  b.earlier_load.clear();
  return b;
}

/// The same scores for all, and every expert as often as any other.
inline reference::Batch balanced(int experts, int k) {
  reference::Batch b{.tokens = 2 * experts, .experts = experts, .slots = k, .sum_to_one = true};
  const int elements = b.tokens * experts;
  b.logits.assign(elements, 0), b.clean.assign(elements, 0), b.scale.assign(elements, 0.5);
  b.scores.assign(elements, 1.0 / experts), b.gates.assign(b.tokens * k, 1.0 / k);
  for (int i = 0; i < b.tokens * k; ++i) b.ids.push_back((i / k + i % k) % experts);
  return b;
}

template <class T, class BalancerT>
void check_loss(const BalancerT& balancer, const Loss& reference, const reference::Batch& b) {
  const double expected = reference(b), got = double(Balancing<T>(b).loss(balancer));
  CAPTURE(expected, got);
  CHECK(std::abs(got - expected) <= 20 * tolerance<T> * (1 + std::abs(expected)));
}

inline bool finite(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

/// The gradient against central differences of the reference, in every fifth number of what it could depend on. Noise
/// keeps its n = (logits - clean) / scale, as in a router.
template <class BalancerT>
void check_gradient(const BalancerT& balancer, const Loss& reference, const reference::Batch& b) {
  const auto gradient = Balancing<double>(b).gradient(balancer, 1);
  double largest = 0, worst = 0;
  std::string where;
  const auto compare = [&](const std::string& name, std::size_t row_length, double analytic, std::size_t i,
                           const auto& moved) {
    if (!b.is_real(int(i / row_length))) {
      CHECK(analytic == 0);
      return;
    }
    constexpr double step = 2e-6;
    const double numeric = (reference(moved(i, step)) - reference(moved(i, -step))) / (2 * step);
    largest = std::max(largest, std::abs(numeric));
    if (!(std::abs(numeric - analytic) <= worst)) {
      worst = std::abs(numeric - analytic), where = name + " " + std::to_string(i);
    }
  };
  const auto each = [&](const auto& values, const auto& f) {
    const std::size_t stride = values.size() > 100 ? 5 : 1;
    for (std::size_t i = 0; i < values.size(); i += stride) f(i);
  };
  each(gradient.gates, [&](std::size_t i) {
    if (b.ids[i] < 0) {
      CHECK(gradient.gates[i] == 0);
      return;
    }
    compare("gate", b.slots, gradient.gates[i], i, [&](std::size_t at, double by) {
      auto other = b;
      other.gates[at] += by;
      return other;
    });
  });
  each(gradient.scores, [&](std::size_t i) {
    compare("score", b.experts, gradient.scores[i], i, [&](std::size_t at, double by) {
      auto other = b;
      other.scores[at] += by;
      return other;
    });
  });
  each(gradient.logits, [&](std::size_t i) {
    compare("logit", b.experts, gradient.logits[i], i, [&](std::size_t at, double by) {
      auto other = b;
      other.logits[at] += by, other.clean[at] += by;
      return other;
    });
    const double n = (b.logits[i] - b.clean[i]) / b.scale[i];
    const double by_scale = b.is_real(int(i) / b.experts) ? gradient.scale[i] + n * gradient.logits[i] : 0;
    compare("scale", b.experts, by_scale, i, [&](std::size_t at, double by) {
      auto other = b;
      other.logits[at] += n * by, other.scale[at] += by;
      return other;
    });
  });
  CAPTURE(where, largest);
  CHECK(worst <= 1e-6 * largest + 1e-9);
}

/// What does not hang on the numbers: bits, scales, what was there before.
template <class T, class BalancerT>
void check_bits(const BalancerT& balancer, const reference::Batch& b) {
  const Balancing<T> here(b);
  const T loss = here.loss(balancer);
  const auto once = here.gradient(balancer, 1), four = here.gradient(balancer, 4);
  for (int repeat = 0; repeat < 20; ++repeat) {
    CHECK(same_bits(std::vector{here.loss(balancer)}, std::vector{loss}));
    CHECK(here.gradient(balancer, 1) == once);
  }
  const auto ones = here.gradient(balancer, 1, 1);  // added to what is there
  const auto check = [](const std::vector<T>& g, const std::vector<T>& g4, const std::vector<T>& g1) {
    for (std::size_t i = 0; i < g.size(); ++i) {
      CHECK(std::abs(g4[i] - 4 * g[i]) <= 16 * std::numeric_limits<T>::min());  // the same bits, unless subnormal
      CHECK(std::abs(g1[i] - (1 + g[i])) <= 4 * tolerance<T> * (1 + std::abs(g[i])));
    }
  };
  check(once.gates, four.gates, ones.gates);
  check(once.scores, four.scores, ones.scores);
  check(once.logits, four.logits, ones.logits);
  check(once.scale, four.scale, ones.scale);
}

template <class T, class BalancerT>
void check_nothing(const BalancerT& balancer) {
  for (const int experts : {1, 5}) {
    const Balancing<T> none(batch(0, experts, 1, Scores::softmax));
    CHECK(none.loss(balancer) == T(0));
    CHECK(none.gradient(balancer, 1).scores.empty());

    auto padding = batch(3, experts, 1, Scores::sigmoid);  // and padding alone is as good as nothing
    padding.real = {0, 0, 0}, padding.ids = {-1, -1, -1}, padding.gates = {0, 0, 0};
    for (int t = 0; t < 3; ++t) spoil(padding, t, not_a_number);
    const Balancing<T> only(padding);
    CHECK(only.loss(balancer) == T(0));
    const auto gradient = only.gradient(balancer, 1);
    CHECK(all_zero(gradient.gates));
    CHECK(all_zero(gradient.scores));
    CHECK(all_zero(gradient.logits));
    CHECK(all_zero(gradient.scale));
  }
}

/// NaN is told by the loss, and keeps to its token unless the balancer says that it does not.
template <class BalancerT>
void check_nan(const BalancerT& balancer, bool stays) {
  auto b = batch(70, 6, 2, Scores::sigmoid);
  for (const int t : {5, 69}) spoil(b, t, not_a_number);
  const Balancing<double> here(b);
  CHECK(std::isnan(here.loss(balancer)));
  const auto gradient = here.gradient(balancer, 1);
  if (!stays) return;
  const auto others = [&](const std::vector<double>& values, int row_length) {
    for (int t = 0; t < b.tokens; ++t) {
      if (t != 5 && t != 69) CHECK(finite(slice(values, t * row_length, row_length)));
    }
  };
  others(gradient.gates, b.slots);
  others(gradient.scores, b.experts);
  others(gradient.logits, b.experts);
  others(gradient.scale, b.experts);
}

template <class BalancerT>
void check_extremes(const BalancerT& balancer, const Loss& reference) {
  const reference::Batch extremes[] = {balanced(1, 1),
                                       balanced(4, 1),
                                       balanced(6, 3),
                                       balanced(6, 6),
                                       collapsed(70, 5, 2, 3),
                                       collapsed(70, 5, 2, 200),
                                       collapsed(70, 5, 5, 2),
                                       batch(70, 5, 2, Scores::softmax, 1e4),
                                       batch(70, 5, 2, Scores::logits, 1e4),
                                       batch(9, 5, 2, Scores::sigmoid, 1e4),
                                       batch(9, 5, 2, Scores::sigmoid, 0),
                                       batch(9, 1, 1, Scores::sigmoid),
                                       unrouted(70, 5, 2, true),
                                       unrouted(70, 5, 2, false)};
  for (const reference::Batch& b : extremes) {
    CAPTURE(b.tokens, b.experts, b.slots);
    check_loss<float>(balancer, reference, b);
    check_loss<double>(balancer, reference, b);
    const auto gradient = Balancing<double>(b).gradient(balancer, 1);
    CHECK(finite(gradient.gates));
    CHECK(finite(gradient.scores));
    CHECK(finite(gradient.logits));
    CHECK(finite(gradient.scale));
  }
}

template <class BalancerT, class RouterT>
void check_layer(const BalancerT& balancer, const RouterT& router, double tolerance) {
  const moe::Layer layer{moe::Shape<>{.experts = 5, .hidden = 7, .intermediate = 4},
                         router,
                         moe::Mlp<moe::Silu>(),
                         balancer,
                         moe::Dropless(),
                         moe::Precision<double>(),
                         moe::PortableTeams()};
  auto p = layer.parameters(Exec());
  scatter(p);
  const Numbers<int> mask = numbers<int>(std::vector{1, 1, 0, 1, 1, 1, 0, 1, 1});
  const auto with = [&](const auto& x) { return moe::inputs(x, moe::Padding{mask}, moe::Step{3}); };
  const auto report = check_gradients(layer, p, {.tokens = 9, .in = 7, .loss_scale = 2}, with);
  CAPTURE(report.where);
  CHECK(report.worst < tolerance);
}

}  // namespace balancer_contract

/// Everything: loss and gradient against the reference, the corners, padding, NaN, bits and scales, and a whole layer.
template <class BalancerT, class RouterT = moe::SigmoidTopK<2, moe::Normalise>>
void check_balancer(const BalancerT& balancer, const balancer_contract::Loss& reference,
                    const BalancerContract<RouterT>& contract = {}) {
  using namespace balancer_contract;
  for (const Scores kind : {Scores::softmax, Scores::sigmoid, Scores::logits}) {
    for (const int experts : {1, 8, 60}) {
      for (const int tokens : {1, 2, 33, 64, 65, 222}) {
        for (const int k : {1, 3, 8}) {
          if (k > experts) continue;
          CAPTURE(kind, experts, tokens, k);
          const auto b = batch(tokens, experts, k, kind);
          check_loss<float>(balancer, reference, b);
          check_loss<double>(balancer, reference, b);
          check_loss<double>(balancer, reference, with_padding(b));
        }
      }
    }
    CAPTURE(kind);
    check_gradient(balancer, reference, batch(66, 7, 2, kind));
    check_gradient(balancer, reference, with_padding(batch(66, 7, 2, kind)));
    check_gradient(balancer, reference, batch(9, 16, 3, kind));
    check_gradient(balancer, reference, batch(5, 4, 4, kind));
    check_gradient(balancer, reference, batch(5, 1, 1, kind));
    check_bits<float>(balancer, batch(130, 7, 2, kind));
    check_bits<double>(balancer, with_padding(batch(130, 7, 2, kind)));
  }
  check_nothing<float>(balancer);
  check_nothing<double>(balancer);
  check_extremes(balancer, reference);
  check_nan(balancer, contract.nan_stays);
  check_layer(balancer, contract.router, contract.layer_tolerance);
}

}  // namespace test
