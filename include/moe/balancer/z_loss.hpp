#pragma once

#include <moe/balancer/probabilities.hpp>
#include <moe/balancer/token_sum.hpp>
#include <moe/core/balancing.hpp>
#include <moe/core/kernel.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace moe {
namespace detail {

template <class MatrixT>
struct SquaredLogSumExp {
  using T = typename MatrixT::non_const_value_type;
  MatrixT logits;
  int num_experts;
  KOKKOS_FUNCTION T operator()(std::int64_t t) const {
    const T l = log_sum_exp(&logits(t, 0), num_experts);
    return l * l;
  }
};

/// d_z_e += scale * 2 l * softmax(z)_e / number of real tokens
template <class RoutingT, class MatrixT>
struct ZLossBackward {
  using T = typename RoutingT::compute;
  RoutingT routing;
  MatrixT d_logits;
  T scale;
  int num_experts;

  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    if (!routing.is_real(t)) return;
    const T l = log_sum_exp(&routing.logits(t, 0), num_experts);
    const T factor = 2 * scale * l / T(routing.num_real());
    for (int e = 0; e < num_experts; ++e) d_logits(t, e) += factor * Kokkos::exp(routing.logits(t, e) - l);
  }
};

}  // namespace detail

/// weight * mean_t (log sum_e exp z_te)^2: keeps the logits small. Padding has no part in it; without a token it is 0.
/// A token with NaN or +inf in its logits makes the loss NaN, and its own gradient. (ST-MoE, Zoph et al. 2022;
/// Megatron-LM and flaxformer have the same scale.)
struct ZLoss {
  float weight = 0.001f;

  static constexpr int num_losses = 1;
  static std::vector<std::string> loss_names() { return {"z"}; }

  template <class TypesT>
  using Workspace = detail::TokenSum<typename TypesT::compute>;
  template <class TypesT, class ArenaT>
  Workspace<TypesT> workspace(ArenaT& arena, const typename TypesT::shape&, int max_tokens) const {
    return {arena, max_tokens};
  }

  template <class TypesT>
  void loss(const Context<TypesT>& context, const Routing<TypesT>& routing, const Plan<TypesT>&,
            typename TypesT::compute* losses, const Workspace<TypesT>& token_sum) const {
    const std::string& label = detail::kernel_label<"moe::z_loss::loss">;
    using T = typename TypesT::compute;
    token_sum(context, label, routing,
              detail::SquaredLogSumExp<decltype(routing.logits)>{routing.logits, context.shape.experts},
              detail::StoreMean<Routing<TypesT>>{routing, losses, T(weight)});
  }

  template <class TypesT, class MatrixT>
  void backward(const Context<TypesT>& context, const Routing<TypesT>& routing, const Plan<TypesT>&, const MatrixT&,
                const MatrixT& d_logits, typename TypesT::compute scale, const Workspace<TypesT>&) const {
    const std::string& label = detail::kernel_label<"moe::z_loss::backward">;
    using T = typename TypesT::compute;
    detail::launch(
        context.exec, label, context.num_tokens,
        detail::ZLossBackward<Routing<TypesT>, MatrixT>{routing, d_logits, scale * T(weight), context.shape.experts});
  }
};

}  // namespace moe
