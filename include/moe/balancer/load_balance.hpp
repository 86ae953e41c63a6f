#pragma once

#include <moe/balancer/probabilities.hpp>
#include <moe/balancer/token_sum.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/routing.hpp>

#include <cstdint>
#include <string>

namespace moe::detail {

/// rate = weight * E / (all choices * tokens), times this batch's choices per token unless per_choice: the loss is the sum
/// of rate * load_e * p_te. One work item for all experts, each of which would have to add up all choices again.
template <class RoutingT, class LoadT>
struct LoadRate {
  using T = typename RoutingT::compute;
  RoutingT routing;
  LoadT load;        ///< f_e is its share in this load,
  LoadT batch_load;  ///< times this batch's choices per token unless per_choice
  T* rate;
  T weight;
  int num_experts;
  bool per_choice;

  KOKKOS_FUNCTION std::int64_t sum(const LoadT& each) const {
    std::int64_t total = 0;
    for (int e = 0; e < num_experts; ++e) total += each(e);
    return total;
  }
  KOKKOS_FUNCTION void operator()(std::int64_t) const {
    const int tokens = routing.num_real();
    const std::int64_t choices = sum(load);
    *rate = 0;
    if (tokens == 0 || choices == 0) return;
    const T scale = per_choice ? T(1) : T(sum(batch_load)) / T(tokens);
    *rate = weight * T(num_experts) * scale / T(tokens) / T(choices);
  }
};

/// weight * E * f_e / tokens, by which each p_te is multiplied.
template <class T, class LoadT>
struct LoadFactor {
  const T* rate;
  LoadT load;
  KOKKOS_FUNCTION T operator()(std::int64_t, int e) const { return *rate * T(load(e)); }
};

/// weight * E * sum_e f_e P_e and its gradient, with f_e of whatever load: a balancer's workspace.
template <class T>
class LoadBalance {
 public:
  LoadBalance() = default;
  template <class ArenaT>
  LoadBalance(ArenaT& arena, int max_tokens) : rate_(arena.template take<T>(1)), token_sum_(arena, max_tokens) {}

  template <class TypesT, class LoadT>
  void loss(const Context<TypesT>& context, const std::string& label, const Routing<TypesT>& routing,
            const Plan<TypesT>& plan, const LoadT& load, T weight, bool per_choice, T* loss) const {
    find_rate(context, label, routing, plan, load, weight, per_choice);
    linear_loss(context, label, routing, LoadFactor<T, LoadT>{rate_, load}, loss, token_sum_);
  }

  template <class TypesT, class LoadT, class MatrixT>
  void backward(const Context<TypesT>& context, const std::string& label, const Routing<TypesT>& routing,
                const Plan<TypesT>& plan, const LoadT& load, T weight, bool per_choice, T scale,
                const MatrixT& d_scores) const {
    find_rate(context, label, routing, plan, load, weight, per_choice);
    add_gradient(context, label, routing, ScaledFactor<T, LoadFactor<T, LoadT>>{{rate_, load}, scale}, d_scores);
  }

 private:
  /// Each time anew: another forward pass may have been in between.
  template <class TypesT, class LoadT>
  void find_rate(const Context<TypesT>& context, const std::string& label, const Routing<TypesT>& routing,
                 const Plan<TypesT>& plan, const LoadT& load, T weight, bool per_choice) const {
    launch(
        context.exec, label, 1,
        LoadRate<Routing<TypesT>, LoadT>{routing, load, plan.load, rate_, weight, context.shape.experts, per_choice});
  }

  T* rate_ = nullptr;
  TokenSum<T> token_sum_;
};

}  // namespace moe::detail
