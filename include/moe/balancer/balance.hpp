#pragma once

#include <moe/core/balancing.hpp>

#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace moe {

/// Any number of balancers, one after the other: `Balance{SwitchLoss{.weight = 0.01f}, ZLoss{}}`. Their losses stand in
/// the tape in this order.
template <class... BalancersT>
struct Balance {
  using parts = std::tuple<BalancersT...>;  ///< a layer asks each of them for what it lacks
  parts balancers{};

  Balance() = default;
  explicit Balance(const BalancersT&... each) requires(sizeof...(BalancersT) > 0) : balancers(each...) {}

  static constexpr int num_losses = (0 + ... + detail::balancing::num_losses<BalancersT>());
  static constexpr bool needs_selection_bias = (false || ... || detail::balancing::NeedsSelectionBias<BalancersT>);
  static constexpr bool needs_noise = (false || ... || detail::balancing::NeedsNoise<BalancersT>);

  static std::vector<std::string> loss_names() {
    std::vector<std::string> names;
    const auto append = [&](const std::vector<std::string>& more) {
      names.insert(names.end(), more.begin(), more.end());
    };
    (append(detail::balancing::loss_names<BalancersT>()), ...);
    return names;
  }

  template <class TypesT>
  using Workspace = std::tuple<detail::balancing::Workspace<TypesT, BalancersT>...>;

  template <class TypesT, class ArenaT>
  Workspace<TypesT> workspace(ArenaT& arena, const typename TypesT::shape& shape, int max_tokens) const {
    return std::apply(
        [&](const auto&... each) {
          return Workspace<TypesT>{detail::balancing::workspace<TypesT>(each, arena, shape, max_tokens)...};
        },
        balancers);
  }

  template <class TypesT>
  void loss(const Context<TypesT>& context, const Routing<TypesT>& routing, const Plan<TypesT>& plan,
            typename TypesT::compute* losses, const Workspace<TypesT>& workspace) const {
    for_each(workspace, [&]<class BalancerT>(const BalancerT& balancer, const auto& own) {
      detail::balancing::loss(balancer, context, routing, plan, losses, own);
      losses += detail::balancing::num_losses<BalancerT>();
    });
  }

  template <class TypesT, class MatrixT>
  void backward(const Context<TypesT>& context, const Routing<TypesT>& routing, const Plan<TypesT>& plan,
                const MatrixT& d_scores, const MatrixT& d_logits, typename TypesT::compute scale,
                const Workspace<TypesT>& workspace) const {
    for_each(workspace, [&](const auto& balancer, const auto& own) {
      detail::balancing::backward(balancer, context, routing, plan, d_scores, d_logits, scale, own);
    });
  }

  template <class TypesT, class MatrixT>
  void backward_gates(const Context<TypesT>& context, const Routing<TypesT>& routing, const Plan<TypesT>& plan,
                      const MatrixT& d_gates, typename TypesT::compute scale,
                      const Workspace<TypesT>& workspace) const {
    for_each(workspace, [&](const auto& balancer, const auto& own) {
      detail::balancing::backward_gates(balancer, context, routing, plan, d_gates, scale, own);
    });
  }

  template <class TypesT, class ParametersT, class LoadT>
  void update(const Context<TypesT>& context, const ParametersT& router, const LoadT& load) const {
    std::apply([&](const auto&... each) { (detail::balancing::update(each, context, router, load), ...); }, balancers);
  }

 private:
  template <class WorkspaceT, class F>
  void for_each(const WorkspaceT& workspace, const F& f) const {
    [&]<std::size_t... I>(std::index_sequence<I...>) { (f(std::get<I>(balancers), std::get<I>(workspace)), ...); }
    (std::index_sequence_for<BalancersT...>());
  }
};

template <class... BalancersT>
Balance(const BalancersT&...) -> Balance<BalancersT...>;

}  // namespace moe
