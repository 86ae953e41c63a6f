#pragma once

#include <Kokkos_Core.hpp>

#include <cstdint>

/// \file
/// What a layer counts on its tape: a View for each number, which grows until the next update and costs no fence.

namespace moe::detail {

template <class LoadT>
struct AddLoad {
  LoadT total;
  LoadT dropped;
  LoadT load;
  const int* offsets;

  KOKKOS_FUNCTION void operator()(std::int64_t e) const {
    total(e) += load(e);
    if (e == 0) {
      for (std::int64_t i = 0; i < std::int64_t(load.extent(0)); ++i) dropped(0) += load(i);
      dropped(0) -= offsets[load.extent(0)];
    }
  }
};

template <class RoutingT>
KOKKOS_FUNCTION bool is_finite(const RoutingT& routing, std::int64_t t, int num_experts) {
  for (int e = 0; e < num_experts; ++e) {
    if (!Kokkos::isfinite(routing.logits(t, e))) return false;
  }
  return true;
}

/// 1 for a real token with a logit that is NaN or infinite.
template <class RoutingT>
struct NonFinite {
  RoutingT routing;
  int num_experts;
  KOKKOS_FUNCTION int operator()(std::int64_t t, std::int64_t) const {
    return routing.is_real(t) && !is_finite(routing, t, num_experts) ? 1 : 0;
  }
};

template <class RoutingT>
struct Real {
  RoutingT routing;
  KOKKOS_FUNCTION int operator()(std::int64_t t, std::int64_t) const { return routing.is_real(t) ? 1 : 0; }
};

/// The entropy of a real token's probabilities: its scores divided by their sum, or the softmax of scores that are
/// logits; 0 where it has none.
template <class RoutingT>
struct ScoreEntropy {
  using T = typename RoutingT::compute;
  RoutingT routing;
  int num_experts;
  KOKKOS_FUNCTION T operator()(std::int64_t t, std::int64_t) const {
    if (!routing.is_real(t) || !is_finite(routing, t, num_experts)) return 0;
    T largest = routing.scores(t, 0);
    for (int e = 1; e < num_experts; ++e) largest = Kokkos::fmax(largest, routing.scores(t, e));
    T sum = 0, weighted = 0;
    for (int e = 0; e < num_experts; ++e) {
      const T score = routing.scores(t, e);
      const T s = routing.scores_are_logits ? Kokkos::exp(score - largest) : score;
      if (!(s > 0)) continue;
      sum += s;
      weighted += s * (routing.scores_are_logits ? score - largest : Kokkos::log(s));
    }
    return sum > 0 ? Kokkos::log(sum) - weighted / sum : T(0);
  }
};

}  // namespace moe::detail
