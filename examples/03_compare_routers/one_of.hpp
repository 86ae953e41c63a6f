#pragma once

#include <moe/core/balancing.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <variant>
#include <vector>

/// A balancer that is chosen at run time among these: `OneOf<moe::NoBalance, moe::SwitchLoss>{moe::SwitchLoss{}}`. A policy of
/// this example's own: it has the members of a balancer (core/balancing.hpp) and hands on to the one that it holds. The
/// alternative, a model for each, would be compiled as often.
template <class... BalancersT>
struct OneOf {
  std::variant<BalancersT...> chosen{};

  static constexpr int num_losses = std::max({moe::detail::balancing::num_losses<BalancersT>()...});
  static constexpr bool needs_selection_bias = (moe::detail::balancing::NeedsSelectionBias<BalancersT> || ...);
  static constexpr bool needs_noise = (moe::detail::balancing::NeedsNoise<BalancersT> || ...);

  /// What the tape has room for; that of a balancer with fewer losses stays zero.
  static std::vector<std::string> loss_names() {
    std::vector<std::string> names;
    for (int i = 0; i < num_losses; ++i) names.push_back("balance." + std::to_string(i));
    return names;
  }

  template <class TypesT>
  using Workspace = std::variant<moe::detail::balancing::Workspace<TypesT, BalancersT>...>;

  template <class TypesT, class ArenaT>
  Workspace<TypesT> workspace(ArenaT& arena, const typename TypesT::shape& shape, int max_tokens) const {
    Workspace<TypesT> workspace;
    with_chosen([&]<std::size_t I>(const auto& balancer) {
      workspace.template emplace<I>(moe::detail::balancing::workspace<TypesT>(balancer, arena, shape, max_tokens));
    });
    return workspace;
  }

  template <class TypesT>
  void loss(const moe::Context<TypesT>& context, const moe::Routing<TypesT>& routing, const moe::Plan<TypesT>& plan,
            typename TypesT::compute* losses, const Workspace<TypesT>& workspace) const {
    with_chosen([&]<std::size_t I>(const auto& balancer) {
      moe::detail::balancing::loss(balancer, context, routing, plan, losses, std::get<I>(workspace));
    });
  }
  template <class TypesT, class MatrixT>
  void backward(const moe::Context<TypesT>& context, const moe::Routing<TypesT>& routing, const moe::Plan<TypesT>& plan,
                const MatrixT& d_scores, const MatrixT& d_logits, typename TypesT::compute scale,
                const Workspace<TypesT>& workspace) const {
    with_chosen([&]<std::size_t I>(const auto& balancer) {
      moe::detail::balancing::backward(balancer, context, routing, plan, d_scores, d_logits, scale,
                                       std::get<I>(workspace));
    });
  }
  template <class TypesT, class MatrixT>
  void backward_gates(const moe::Context<TypesT>& context, const moe::Routing<TypesT>& routing,
                      const moe::Plan<TypesT>& plan, const MatrixT& d_gates, typename TypesT::compute scale,
                      const Workspace<TypesT>& workspace) const {
    with_chosen([&]<std::size_t I>(const auto& balancer) {
      moe::detail::balancing::backward_gates(balancer, context, routing, plan, d_gates, scale, std::get<I>(workspace));
    });
  }
  template <class TypesT, class ParametersT, class LoadT>
  void update(const moe::Context<TypesT>& context, const ParametersT& router, const LoadT& load) const {
    with_chosen(
        [&]<std::size_t>(const auto& balancer) { moe::detail::balancing::update(balancer, context, router, load); });
  }

 private:
  /// f.operator()<I>(the balancer) for the I that is chosen: two of them may have workspaces of the same type.
  template <class F>
  void with_chosen(const F& f) const {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      ((I == chosen.index() ? f.template operator()<I>(std::get<I>(chosen)) : void()), ...);
    }
    (std::index_sequence_for<BalancersT...>());
  }
};
