#pragma once

#include <moe/balancer/token_sum.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/reduce.hpp>
#include <moe/core/routing.hpp>

#include <cstdint>
#include <string>

namespace moe::detail {

/// \file
/// What losses of the probabilities p_te share. They are the scores where those add up to one; the scores divided by
/// their sum + 1e-20 where they do not; the softmax of scores that are logits, chosen experts or not (Megatron-LM).

/// log sum_e exp(z_e), the maximum subtracted first.
template <class T>
KOKKOS_FUNCTION T log_sum_exp(const T* z, int n) {
  T largest = z[0];
  for (int i = 1; i < n; ++i) largest = Kokkos::fmax(largest, z[i]);
  T sum = 0;
  for (int i = 0; i < n; ++i) sum += Kokkos::exp(z[i] - largest);
  return largest + Kokkos::log(sum);
}

template <class RoutingT>
struct Probabilities {
  using T = typename RoutingT::compute;
  using MatrixT = decltype(RoutingT::scores);

  RoutingT routing;
  int num_experts;

  /// What makes a token's scores probabilities: one over their sum, or the log of the sum of their exponentials.
  KOKKOS_FUNCTION T normaliser(std::int64_t t) const {
    if (routing.scores_sum_to_one) return 1;
    if (routing.scores_are_logits) return log_sum_exp(&routing.scores(t, 0), num_experts);
    T sum = T(1e-20);
    for (int e = 0; e < num_experts; ++e) sum += routing.scores(t, e);
    return 1 / sum;
  }
  KOKKOS_FUNCTION T p(std::int64_t t, int e, T normaliser) const {
    const T s = routing.scores(t, e);
    return routing.scores_are_logits ? Kokkos::exp(s - normaliser) : s * normaliser;
  }

  /// d_s_te += d_p(t, e, p_te), through the normalisation.
  template <class GradientT>
  KOKKOS_FUNCTION void backward(std::int64_t t, const GradientT& d_p, const MatrixT& d_scores) const {
    const T n = normaliser(t);
    T mean = 0;
    if (!routing.scores_sum_to_one) {
      for (int e = 0; e < num_experts; ++e) {
        const T each = p(t, e, n);
        mean += d_p(t, e, each) * each;
      }
    }
    for (int e = 0; e < num_experts; ++e) {
      const T each = p(t, e, n);
      d_scores(t, e) += (d_p(t, e, each) - mean) * (routing.scores_are_logits ? each : n);
    }
  }
};

/// Adds the gradient of a loss that is given by d_p(t, e, p_te); padding gets none.
template <class RoutingT, class GradientT>
struct ProbabilitiesBackward {
  Probabilities<RoutingT> probabilities;
  GradientT d_p;
  decltype(RoutingT::scores) d_scores;
  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    if (probabilities.routing.is_real(t)) probabilities.backward(t, d_p, d_scores);
  }
};

template <class TypesT, class GradientT, class MatrixT>
void add_gradient(const Context<TypesT>& context, const std::string& label, const Routing<TypesT>& routing,
                  const GradientT& d_p, const MatrixT& d_scores) {
  using RoutingT = Routing<TypesT>;
  launch(context.exec, label, context.num_tokens,
         ProbabilitiesBackward<RoutingT, GradientT>{{routing, context.shape.experts}, d_p, d_scores});
}

// ---- losses that are linear in p: the sum over real tokens and experts of factor(t, e) * p_te

/// A token's share of the loss.
template <class RoutingT, class FactorT>
struct WeighedProbabilities {
  using T = typename RoutingT::compute;
  Probabilities<RoutingT> probabilities;
  FactorT factor;
  KOKKOS_FUNCTION T operator()(std::int64_t t) const {
    const T n = probabilities.normaliser(t);
    T sum = 0;
    for (int e = 0; e < probabilities.num_experts; ++e) sum += factor(t, e) * probabilities.p(t, e, n);
    return sum;
  }
};

template <class T, class FactorT>
struct ScaledFactor {
  FactorT factor;
  T scale;
  KOKKOS_FUNCTION T operator()(std::int64_t t, int e, T) const { return scale * factor(t, e); }
};

/// Such a loss; for its backward see add_gradient with ScaledFactor.
template <class T, class TypesT, class FactorT>
void linear_loss(const Context<TypesT>& context, const std::string& label, const Routing<TypesT>& routing,
                 const FactorT& factor, T* loss, const TokenSum<T>& token_sum) {
  using RoutingT = Routing<TypesT>;
  token_sum(context, label, routing, WeighedProbabilities<RoutingT, FactorT>{{routing, context.shape.experts}, factor},
            StoreSum<T>{loss, false});
}

}  // namespace moe::detail
