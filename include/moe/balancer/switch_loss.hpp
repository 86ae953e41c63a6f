#pragma once

#include <moe/core/balancing.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/reduce.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace moe {
namespace detail {

/// totals[t] = sum_e s_te + 1e-20, by which scores that are no probabilities are divided.
template <class RoutingT>
struct ScoreTotals {
  using T = typename RoutingT::compute;
  RoutingT routing;
  T* totals;
  int num_experts;
  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    T total = T(1e-20);
    for (int e = 0; e < num_experts; ++e) total += routing.scores(t, e);
    totals[t] = total;
  }
};

/// p_te
template <class RoutingT>
struct Probability {
  using T = typename RoutingT::compute;
  RoutingT routing;
  const T* totals;
  KOKKOS_FUNCTION T operator()(std::int64_t t, std::int64_t e) const {
    return routing.scores_sum_to_one ? routing.scores(t, e) : routing.scores(t, e) / totals[t];
  }
};

/// factor * sum_e load_e * (sum over tokens of p_te)
template <class T, class LoadT>
struct WeighLoad {
  const T* probability_sum;
  LoadT load;
  T* loss;
  T factor;
  int num_experts;
  KOKKOS_FUNCTION void operator()(std::int64_t) const {
    T sum = 0;
    for (int e = 0; e < num_experts; ++e) sum += T(load(e)) * probability_sum[e];
    *loss = factor * sum;
  }
};

/// d_s_te += factor * load_e for probabilities; through the division by the total otherwise.
template <class RoutingT, class LoadT>
struct SwitchLossBackward {
  using T = typename RoutingT::compute;
  RoutingT routing;
  LoadT load;
  decltype(RoutingT::scores) d_scores;
  const T* totals;
  T factor;
  int num_experts;

  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    if (routing.scores_sum_to_one) {
      for (int e = 0; e < num_experts; ++e) d_scores(t, e) += factor * T(load(e));
      return;
    }
    T mean = 0;
    for (int e = 0; e < num_experts; ++e) mean += T(load(e)) * routing.scores(t, e) / totals[t];
    for (int e = 0; e < num_experts; ++e) d_scores(t, e) += factor * (T(load(e)) - mean) / totals[t];
  }
};

}  // namespace detail

/// The load balancing loss of Switch and GShard, weight * E * sum_e f_e P_e, with f_e the fraction of assignments that
/// expert e got (before drops; no gradient) and P_e the mean of its scores, divided by their sum where they do not add
/// up to one. 1 at uniform load. (Fedus et al. 2021; the scale is Megatron-LM's. transformers and flaxformer leave out
/// the 1/k of f: theirs is k times as large, `.per_choice = false`.)
struct SwitchLoss {
  float weight = 0.01f;
  bool per_choice = true;  ///< f_e is a fraction of assignments; false: of tokens

  static constexpr int num_losses = 1;
  static std::vector<std::string> loss_names() { return {"switch"}; }

  template <class TypesT>
  struct Workspace {
    typename TypesT::compute* probability_sum = nullptr;  ///< [experts]
    typename TypesT::compute* totals = nullptr;           ///< [tokens]
    detail::ColumnSum<typename TypesT::compute> column_sum;
  };
  template <class TypesT, class ArenaT>
  Workspace<TypesT> workspace(ArenaT& arena, const typename TypesT::shape& shape, int max_tokens) const {
    using T = typename TypesT::compute;
    return {
        arena.template take<T>(shape.experts), arena.template take<T>(max_tokens), {arena, max_tokens, shape.experts}};
  }

  template <class TypesT>
  void loss(const Context<TypesT>& context, const Routing<TypesT>& routing, const Plan<TypesT>& plan,
            typename TypesT::compute* losses, const Workspace<TypesT>& workspace) const {
    const std::string& label = detail::kernel_label<"moe::switch_loss::loss">;
    using T = typename TypesT::compute;
    const int experts = context.shape.experts;
    sum_scores(context, routing, workspace);
    workspace.column_sum(context.exec, label, context.num_tokens, experts,
                         detail::Probability<Routing<TypesT>>{routing, workspace.totals},
                         detail::StoreSum<T>{workspace.probability_sum, false});
    detail::launch(context.exec, label, 1,
                   detail::WeighLoad<T, decltype(plan.load)>{workspace.probability_sum, plan.load, losses,
                                                             factor(context, routing), experts});
  }

  template <class TypesT, class MatrixT>
  void backward(const Context<TypesT>& context, const Routing<TypesT>& routing, const Plan<TypesT>& plan,
                const MatrixT& d_scores, const MatrixT&, typename TypesT::compute scale,
                const Workspace<TypesT>& workspace) const {
    const std::string& label = detail::kernel_label<"moe::switch_loss::backward">;
    sum_scores(context, routing, workspace);
    detail::launch(
        context.exec, label, context.num_tokens,
        detail::SwitchLossBackward<Routing<TypesT>, decltype(plan.load)>{
            routing, plan.load, d_scores, workspace.totals, scale * factor(context, routing), context.shape.experts});
  }

 private:
  template <class TypesT>
  static void sum_scores(const Context<TypesT>& context, const Routing<TypesT>& routing,
                         const Workspace<TypesT>& workspace) {
    const std::string& label = detail::kernel_label<"moe::switch_loss::totals">;
    if (routing.scores_sum_to_one) return;
    detail::launch(context.exec, label, context.num_tokens,
                   detail::ScoreTotals<Routing<TypesT>>{routing, workspace.totals, context.shape.experts});
  }

  /// weight * E / (assignments * T), the factor of load_e * sum_t p_te.
  template <class TypesT>
  typename TypesT::compute factor(const Context<TypesT>& context, const Routing<TypesT>& routing) const {
    using T = typename TypesT::compute;
    const T tokens = T(context.num_tokens);
    if (context.num_tokens == 0) return 0;
    const T choices = per_choice ? tokens * T(routing.slots()) : tokens;
    return T(weight) * T(int(context.shape.experts)) / (choices * tokens);
  }
};

}  // namespace moe
