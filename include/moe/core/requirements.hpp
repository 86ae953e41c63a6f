#pragma once

#include <moe/core/concepts.hpp>
#include <moe/core/inputs.hpp>

#include <tuple>

namespace moe::detail {

/// \file
/// What a layer asks of its policies, as sentences: one for each member that is missing, which names the fix. The
/// functions return true, so that a static_assert can ask them before anything else is instantiated.

/// The inputs of a caller who passes x alone.
template <class TypesT>
using BareInputs = Inputs<Matrix<const typename TypesT::storage, typename TypesT::memory>>;

template <class RouterT, class TypesT>
constexpr bool router_is_complete() {
  static_assert(HasParameters<RouterT, TypesT>,
                "moe: a router needs `template <class TypesT> struct Parameters`; NoParameters if it has none");
  static_assert(HasTape<RouterT, TypesT>,
                "moe: a router needs `template <class TypesT> struct Tape`; Nothing if it keeps nothing");
  static_assert(HasWorkspace<RouterT, TypesT>,
                "moe: a router needs `template <class TypesT> struct Workspace`; Nothing if it needs none");
  static_assert(HasSlots<RouterT, typename TypesT::shape>,
                "moe: a router needs `int slots(shape) const`, the experts that a token can have");
  static_assert(HasMaxRows<RouterT, typename TypesT::shape>,
                "moe: a router needs `int max_rows(shape, num_tokens) const`, the most assignments that it makes");
  static_assert(HasLimits<RouterT, typename TypesT::shape>,
                "moe: a router needs `EngineLimits limits(shape, max_tokens) const`; {} if it multiplies nothing");
  static_assert(MakesParameters<RouterT, TypesT>,
                "moe: a router needs `parameters<TypesT>(maker, shape) const`, which makes its tensors");
  static_assert(MakesTape<RouterT, TypesT>,
                "moe: a router needs `tape<TypesT>(arena, shape, max_tokens) const`, which makes its Tape");
  static_assert(MakesWorkspace<RouterT, TypesT> || MakesWorkspace<RouterT, TypesT, Use>,
                "moe: a router needs `workspace<TypesT>(arena, shape, max_tokens) const`, which makes its Workspace");
  if constexpr (!NeedsSides<RouterT>) {
    static_assert(HasRoute<RouterT, TypesT, BareInputs<TypesT>>,
                  "moe: a router needs `route(context, parameters, inputs, routing, tape, workspace) const`");
  }
  return true;
}

template <class ExpertT, class TypesT>
constexpr bool expert_is_complete() {
  static_assert(HasParameters<ExpertT, TypesT>,
                "moe: an expert needs `template <class TypesT> struct Parameters`; NoParameters if it has none");
  static_assert(HasTape<ExpertT, TypesT>,
                "moe: an expert needs `template <class TypesT> struct Tape`; Nothing if it keeps nothing");
  static_assert(HasWorkspace<ExpertT, TypesT>,
                "moe: an expert needs `template <class TypesT> struct Workspace`; Nothing if it needs none");
  static_assert(HasLimits<ExpertT, typename TypesT::shape>,
                "moe: an expert needs `EngineLimits limits(shape, max_rows) const`; {} if it multiplies nothing");
  static_assert(MakesParameters<ExpertT, TypesT>,
                "moe: an expert needs `parameters<TypesT>(maker, shape) const`, which makes its tensors");
  static_assert(MakesTape<ExpertT, TypesT>,
                "moe: an expert needs `tape<TypesT>(arena, shape, max_rows) const`, which makes its Tape");
  static_assert(MakesWorkspace<ExpertT, TypesT, Use>,
                "moe: an expert needs `workspace<TypesT>(arena, shape, max_rows, use) const`, which makes its "
                "Workspace");
  static_assert(HasExpertForward<ExpertT, TypesT>,
                "moe: an expert needs `forward(context, parameters, segments, source, rows, tape, workspace) const`");
  return true;
}

template <class BalancerT, class RouterT, class TypesT>
constexpr bool balancer_is_complete();

/// Each of several balancers.
template <class RouterT, class TypesT, class... BalancersT>
constexpr bool balancers_are_complete(const std::tuple<BalancersT...>*) {
  return (balancer_is_complete<BalancersT, RouterT, TypesT>() && ...);
}

template <class BalancerT, class RouterT, class TypesT>
constexpr bool balancer_is_complete() {
  if constexpr (requires { typename BalancerT::parts; }) {
    static_assert(balancers_are_complete<RouterT, TypesT>(static_cast<typename BalancerT::parts*>(nullptr)));
  }
  static_assert(Balances<BalancerT, TypesT, ParametersOf<RouterT, TypesT>>,
                "moe: the fourth argument of Layer is a balancer: it needs `num_losses`, `loss` and `backward`, or "
                "`update(context, router_parameters, load) const`; moe::NoBalance{} where there is none");
  if constexpr (balancing::adds_losses<BalancerT>) {
    static_assert(
        HasWorkspace<BalancerT, TypesT>,
        "moe: a balancer with losses needs `template <class TypesT> struct Workspace`; Nothing if it needs none");
    static_assert(
        MakesWorkspace<BalancerT, TypesT>,
        "moe: a balancer with losses needs `workspace<TypesT>(arena, shape, max_tokens) const`, which makes its "
        "Workspace");
    static_assert(HasLossNames<BalancerT>,
                  "moe: a balancer with losses needs `static std::vector<std::string> loss_names()`, one for each");
    static_assert(
        HasLoss<BalancerT, TypesT>,
        "moe: a balancer with losses needs `loss(context, routing, plan, losses, workspace) const`, which writes "
        "them");
    static_assert(HasLossBackward<BalancerT, TypesT>,
                  "moe: a balancer with losses needs `backward(context, routing, plan, d_scores, d_logits, scale, "
                  "workspace) const`, which adds their gradient");
  }
  if constexpr (balancing::NeedsSelectionBias<BalancerT>) {
    static_assert(HasSelectionBias<RouterT>,
                  "moe: this balancer moves a selection bias, which the router has not; give the router one: "
                  "SigmoidTopK<8, moe::Normalise, moe::SelectionBias>");
  }
  if constexpr (balancing::NeedsNoise<BalancerT>) {
    static_assert(DrawsNoise<RouterT>,
                  "moe: this balancer looks at the noise of the router, which draws none; give it a router that does: "
                  "moe::NoisyTopK<4>, or any with the projection moe::Noisy<>");
  }
  return true;
}

template <class DispatcherT, class TypesT>
constexpr bool dispatcher_is_complete() {
  static_assert(HasWorkspace<DispatcherT, TypesT>,
                "moe: a dispatcher needs `template <class TypesT> struct Workspace`; Nothing if it needs none");
  static_assert(MakesWorkspace<DispatcherT, TypesT, int>,
                "moe: a dispatcher needs `workspace<TypesT>(arena, shape, max_tokens, slots) const`, which makes its "
                "Workspace");
  static_assert(HasPlan<DispatcherT, TypesT>,
                "moe: a dispatcher needs `plan(context, routing, plan, workspace) const`");
  static_assert(HasCombine<DispatcherT, TypesT>,
                "moe: a dispatcher needs `combine(context, routing, plan, rows, y, beta) const`");
  return true;
}

template <class RouterT, class TypesT>
constexpr bool router_can_train() {
  static_assert(HasRouterBackward<RouterT, TypesT, BareInputs<TypesT>>,
                "moe: to be trained, a router needs `backward(context, parameters, inputs, routing, tape, d_gates, "
                "d_scores, d_logits, dx, gradients, options, workspace) const`");
  return true;
}

template <class ExpertT, class TypesT>
constexpr bool expert_can_train() {
  static_assert(HasExpertBackward<ExpertT, TypesT>,
                "moe: to be trained, an expert needs `backward(context, parameters, tape, segments, x, dy, "
                "d_gate_rows, d_rows, gradients, options, workspace) const`");
  return true;
}

template <class DispatcherT, class TypesT>
constexpr bool dispatcher_can_train() {
  static_assert(HasCombineBackward<DispatcherT, TypesT>,
                "moe: to be trained, a dispatcher needs `combine_backward(context, plan, d_gate_rows, d_rows, "
                "d_gates, dx) const`");
  return true;
}

}  // namespace moe::detail
