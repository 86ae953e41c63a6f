#pragma once

#include <moe/balancer/load_balance.hpp>
#include <moe/core/balancing.hpp>
#include <moe/core/kernel.hpp>

#include <string>
#include <vector>

namespace moe {

/// The load balancing loss of Switch and GShard, weight * E * sum_e f_e P_e, with f_e the fraction of assignments that
/// expert e got (before drops; no gradient) and P_e the mean of its probabilities over tokens: of the scores where they
/// add up to one, of the scores divided by their sum where they do not, of the softmax over all experts where the scores
/// are logits (TopKSoftmax). 1 at uniform load. Padding has no part in it; without a token it is 0. A token
/// with NaN in its scores makes the loss NaN, and its own gradient at most. (Fedus et al. 2021; the scale is that of
/// Megatron-LM and DeepSeek. transformers and flaxformer take f_e as a fraction of tokens: theirs is k times as large,
/// `.per_choice = false`.)
struct SwitchLoss {
  float weight = 0.01f;
  bool per_choice = true;  ///< f_e is a fraction of assignments; false: of tokens

  static constexpr int num_losses = 1;
  static std::vector<std::string> loss_names() { return {"switch"}; }

  template <class TypesT>
  using Workspace = detail::LoadBalance<typename TypesT::compute>;
  template <class TypesT, class ArenaT>
  Workspace<TypesT> workspace(ArenaT& arena, const typename TypesT::shape&, int max_tokens) const {
    return {arena, max_tokens};
  }

  template <class TypesT>
  void loss(const Context<TypesT>& context, const Routing<TypesT>& routing, const Plan<TypesT>& plan,
            typename TypesT::compute* losses, const Workspace<TypesT>& workspace) const {
    const std::string& label = detail::kernel_label<"moe::switch_loss::loss">;
    workspace.loss(context, label, routing, plan, plan.load, weight, per_choice, losses);
  }

  template <class TypesT, class MatrixT>
  void backward(const Context<TypesT>& context, const Routing<TypesT>& routing, const Plan<TypesT>& plan,
                const MatrixT& d_scores, const MatrixT&, typename TypesT::compute scale,
                const Workspace<TypesT>& workspace) const {
    const std::string& label = detail::kernel_label<"moe::switch_loss::backward">;
    workspace.backward(context, label, routing, plan, plan.load, weight, per_choice, scale, d_scores);
  }
};

}  // namespace moe
