#pragma once

#include <moe/balancer/load_balance.hpp>
#include <moe/core/balancing.hpp>
#include <moe/core/kernel.hpp>

#include <string>
#include <vector>

namespace moe {

/// SwitchLoss over a global batch: weight * E * sum_e f_e P_e, with f_e the fraction of all assignments since the last
/// update that expert e got, this micro-batch included (before drops; no gradient), and P_e the mean of its
/// probabilities over this micro-batch. So a micro-batch may lean to a few experts where the step does not. Call
/// backward of a micro-batch before update, which starts the count again. 1 at uniform load. Padding has no part in it;
/// without a token it is 0. A token with NaN in its scores makes the loss NaN, and its own gradient at most. (Qiu et al.
/// 2025, "Demons in the detail"; the scale is that of Megatron-LM's global_aux_loss, whose f_e divides the mean load of
/// the micro-batches by k times the tokens of this one: the same where they have equally many. For a scale k times as
/// large, `.per_choice = false`.)
struct GlobalBalance {
  float weight = 0.01f;
  bool per_choice = true;  ///< f_e is a fraction of assignments; false: times this micro-batch's choices per token

  static constexpr int num_losses = 1;
  static std::vector<std::string> loss_names() { return {"global_balance"}; }

  template <class TypesT>
  using Workspace = detail::LoadBalance<typename TypesT::compute>;
  template <class TypesT, class ArenaT>
  Workspace<TypesT> workspace(ArenaT& arena, const typename TypesT::shape&, int max_tokens) const {
    return {arena, max_tokens};
  }

  template <class TypesT>
  void loss(const Context<TypesT>& context, const Routing<TypesT>& routing, const Plan<TypesT>& plan,
            typename TypesT::compute* losses, const Workspace<TypesT>& workspace) const {
    const std::string& label = detail::kernel_label<"moe::global_balance::loss">;
    workspace.loss(context, label, routing, plan, plan.total_load, weight, per_choice, losses);
  }

  template <class TypesT, class MatrixT>
  void backward(const Context<TypesT>& context, const Routing<TypesT>& routing, const Plan<TypesT>& plan,
                const MatrixT& d_scores, const MatrixT&, typename TypesT::compute scale,
                const Workspace<TypesT>& workspace) const {
    const std::string& label = detail::kernel_label<"moe::global_balance::backward">;
    workspace.backward(context, label, routing, plan, plan.total_load, weight, per_choice, scale, d_scores);
  }
};

}  // namespace moe
