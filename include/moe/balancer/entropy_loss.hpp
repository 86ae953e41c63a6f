#pragma once

#include <moe/balancer/probabilities.hpp>
#include <moe/balancer/token_sum.hpp>
#include <moe/core/balancing.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/reduce.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace moe {
namespace detail {

/// -p log p, 0 at 0
template <class T>
KOKKOS_FUNCTION T entropy_term(T p) {
  return p == 0 ? T(0) : -p * Kokkos::log(p);
}

/// The entropy of a token's probabilities.
template <class RoutingT>
struct TokenEntropy {
  using T = typename RoutingT::compute;
  Probabilities<RoutingT> probabilities;
  KOKKOS_FUNCTION T operator()(std::int64_t t) const {
    const T n = probabilities.normaliser(t);
    T entropy = 0;
    for (int e = 0; e < probabilities.num_experts; ++e) {
      entropy += entropy_term(probabilities.p(t, e, n));
    }
    return entropy;
  }
};

/// The normaliser of each token.
template <class RoutingT>
struct TokenNormalisers {
  Probabilities<RoutingT> probabilities;
  typename RoutingT::compute* normalisers;
  KOKKOS_FUNCTION void operator()(std::int64_t t) const { normalisers[t] = probabilities.normaliser(t); }
};

/// p_te of real tokens, 0 of padding.
template <class RoutingT>
struct RealProbability {
  using T = typename RoutingT::compute;
  Probabilities<RoutingT> probabilities;
  const T* normalisers;
  KOKKOS_FUNCTION T operator()(std::int64_t t, std::int64_t e) const {
    return probabilities.routing.is_real(t) ? probabilities.p(t, int(e), normalisers[t]) : T(0);
  }
};

/// loss -= weight * the entropy of the mean probabilities
template <class T>
struct SubtractBatchEntropy {
  const T* means;
  int num_experts;
  T weight;
  T* loss;
  KOKKOS_FUNCTION void operator()(std::int64_t) const {
    T entropy = 0;
    for (int e = 0; e < num_experts; ++e) entropy += entropy_term(means[e]);
    *loss -= weight * entropy;
  }
};

/// d loss / d p_te = (batch (log mean_e + 1) - token (log p_te + 1)) / tokens; 0 where p is, whose slope is infinite: a
/// softmax would multiply it by 0.
template <class RoutingT>
struct EntropyGradient {
  using T = typename RoutingT::compute;
  RoutingT routing;
  const T* means;
  T token;
  T batch;
  KOKKOS_FUNCTION T operator()(std::int64_t, int e, T p) const {
    if (p == 0) return 0;
    T slope = -token * (Kokkos::log(p) + 1);
    if (batch != 0 && means[e] != 0) slope += batch * (Kokkos::log(means[e]) + 1);
    return slope / T(routing.num_real());
  }
};

}  // namespace detail

/// token * mean_t H(p_t) - batch * H(mean_t p_t), in nats, with H(p) = -sum_e p_e log p_e of the probabilities. `token`
/// wants every token sure of its experts: alone it is the dynamic loss of top-p routing (Huang et al. 2024, "Harder
/// tasks need more experts"). `batch` wants all experts used. The same weight for both is -weight times the mutual
/// information of tokens and experts, which Mod-Squad (Chen et al. 2023) has for tasks and experts. Either may be
/// negative. Between -batch * log E and token * log E where neither is. A probability of exactly 0 gets no gradient.
/// Padding has no part in it; without a token it is 0. A token with NaN in its scores makes the loss NaN, its own
/// gradient too, and those of all tokens where batch is not 0.
struct EntropyLoss {
  float token = 1e-4f;
  float batch = 0;

  static constexpr int num_losses = 1;
  static std::vector<std::string> loss_names() { return {"entropy"}; }

  template <class TypesT>
  struct Workspace {
    using T = typename TypesT::compute;
    T* normalisers = nullptr;  ///< [tokens]
    T* means = nullptr;        ///< [experts]
    detail::TokenSum<T> token_sum;
    detail::ColumnSum<T> column_sum;
  };
  template <class TypesT, class ArenaT>
  Workspace<TypesT> workspace(ArenaT& arena, const typename TypesT::shape& shape, int max_tokens) const {
    using T = typename TypesT::compute;
    return {arena.template take<T>(max_tokens),
            arena.template take<T>(shape.experts),
            {arena, max_tokens},
            {arena, max_tokens, shape.experts}};
  }

  template <class TypesT>
  void loss(const Context<TypesT>& context, const Routing<TypesT>& routing, const Plan<TypesT>&,
            typename TypesT::compute* losses, const Workspace<TypesT>& workspace) const {
    const std::string& label = detail::kernel_label<"moe::entropy_loss::loss">;
    using T = typename TypesT::compute;
    const int experts = context.shape.experts;
    workspace.token_sum(context, label, routing, detail::TokenEntropy<Routing<TypesT>>{{routing, experts}},
                        detail::StoreMean<Routing<TypesT>>{routing, losses, T(token)});
    if (batch == 0) return;
    find_means(context, label, routing, workspace);
    detail::launch(context.exec, label, 1, detail::SubtractBatchEntropy<T>{workspace.means, experts, T(batch), losses});
  }

  template <class TypesT, class MatrixT>
  void backward(const Context<TypesT>& context, const Routing<TypesT>& routing, const Plan<TypesT>&,
                const MatrixT& d_scores, const MatrixT&, typename TypesT::compute scale,
                const Workspace<TypesT>& workspace) const {
    const std::string& label = detail::kernel_label<"moe::entropy_loss::backward">;
    using T = typename TypesT::compute;
    if (batch != 0) find_means(context, label, routing, workspace);
    detail::add_gradient(
        context, label, routing,
        detail::EntropyGradient<Routing<TypesT>>{routing, workspace.means, scale * T(token), scale * T(batch)},
        d_scores);
  }

 private:
  template <class TypesT>
  static void find_means(const Context<TypesT>& context, const std::string& label, const Routing<TypesT>& routing,
                         const Workspace<TypesT>& workspace) {
    using RoutingT = Routing<TypesT>;
    const int experts = context.shape.experts;
    detail::launch(context.exec, label, context.num_tokens,
                   detail::TokenNormalisers<RoutingT>{{routing, experts}, workspace.normalisers});
    workspace.column_sum(context.exec, label, context.num_tokens, experts,
                         detail::RealProbability<RoutingT>{{routing, experts}, workspace.normalisers},
                         detail::StoreMean<RoutingT>{routing, workspace.means, 1});
  }
};

}  // namespace moe
