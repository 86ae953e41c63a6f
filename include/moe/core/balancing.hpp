#pragma once

#include <moe/core/routing.hpp>
#include <moe/core/types.hpp>

#include <string>
#include <vector>

namespace moe {

/// \file
/// What a balancer is. It adds losses, or it updates something of the router's once a step, or both:
///
///     static constexpr int num_losses = 1;            with it: Workspace, workspace, loss_names, loss, backward
///     loss(context, routing, plan, losses, workspace)                         writes losses[0 .. num_losses)
///     backward(context, routing, plan, d_scores, d_logits, scale, workspace)  adds its gradient
///     backward_gates(context, routing, plan, d_gates, scale, workspace)       optional: the same, by the gates
///     static constexpr bool needs_noise               true: the router must fill routing.noise in training
///
///     update(context, router_parameters, load)        the load since the last update, all micro-batches
///     static constexpr bool needs_selection_bias      true: the router must have a SelectionBias
///
/// Losses are means over tokens, already weighted: a training loss adds them up.

/// No balancer.
struct NoBalance {};

namespace detail::balancing {

template <class BalancerT>
inline constexpr bool adds_losses = requires {
  BalancerT::num_losses;
};

template <class BalancerT>
constexpr int num_losses() {
  if constexpr (adds_losses<BalancerT>) {
    return BalancerT::num_losses;
  } else {
    return 0;
  }
}

template <class BalancerT>
concept NeedsSelectionBias = BalancerT::needs_selection_bias;
template <class BalancerT>
concept NeedsNoise = BalancerT::needs_noise;

template <class BalancerT>
std::vector<std::string> loss_names() {
  if constexpr (adds_losses<BalancerT>) {
    return BalancerT::loss_names();
  } else {
    return {};
  }
}

template <class TypesT, class BalancerT, class ArenaT>
auto workspace(const BalancerT& balancer, ArenaT& arena, const typename TypesT::shape& shape, int max_tokens) {
  if constexpr (adds_losses<BalancerT>) {
    return balancer.template workspace<TypesT>(arena, shape, max_tokens);
  } else {
    return Nothing{};
  }
}

template <class TypesT, class BalancerT>
struct WorkspaceOf {
  using type = Nothing;
};
template <class TypesT, class BalancerT>
requires adds_losses<BalancerT> && requires { typename BalancerT::template Workspace<TypesT>; }
struct WorkspaceOf<TypesT, BalancerT> {
  using type = typename BalancerT::template Workspace<TypesT>;
};
template <class TypesT, class BalancerT>
using Workspace = typename WorkspaceOf<TypesT, BalancerT>::type;

template <class BalancerT, class... ArgumentsT>
void loss(const BalancerT& balancer, const ArgumentsT&... arguments) {
  if constexpr (adds_losses<BalancerT>) balancer.loss(arguments...);
}
template <class BalancerT, class... ArgumentsT>
void backward(const BalancerT& balancer, const ArgumentsT&... arguments) {
  if constexpr (adds_losses<BalancerT>) balancer.backward(arguments...);
}
template <class BalancerT, class... ArgumentsT>
void backward_gates(const BalancerT& balancer, const ArgumentsT&... arguments) {
  if constexpr (requires { balancer.backward_gates(arguments...); }) balancer.backward_gates(arguments...);
}
template <class BalancerT, class... ArgumentsT>
void update(const BalancerT& balancer, const ArgumentsT&... arguments) {
  if constexpr (requires { balancer.update(arguments...); }) balancer.update(arguments...);
}

}  // namespace detail::balancing
}  // namespace moe
