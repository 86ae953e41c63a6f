#pragma once

#include <moe/core/arena.hpp>
#include <moe/core/balancing.hpp>
#include <moe/core/operands.hpp>
#include <moe/core/parameters.hpp>
#include <moe/core/routing.hpp>
#include <moe/core/types.hpp>

#include <Kokkos_Core.hpp>

#include <concepts>
#include <string>
#include <type_traits>
#include <vector>

namespace moe::detail {

/// \file
/// Whether a policy has what a layer calls, one question for each member, so that each missing one is a sentence of its
/// own. The bodies of generic members are not looked at: all of them return void or a named type.

template <class PolicyT, class TypesT>
concept HasParameters = requires {
  typename PolicyT::template Parameters<TypesT>;
};
template <class PolicyT, class TypesT>
concept HasTape = requires {
  typename PolicyT::template Tape<TypesT>;
};
template <class PolicyT, class TypesT>
concept HasWorkspace = requires {
  typename PolicyT::template Workspace<TypesT>;
};

/// A policy's own types, or a stand-in where it lacks one: the sentence that says so must not come after errors that
/// nobody can read.
template <class PolicyT, class TypesT>
struct TypesOfPolicy {
  static auto parameters() {
    if constexpr (HasParameters<PolicyT, TypesT>) {
      return std::type_identity<typename PolicyT::template Parameters<TypesT>>();
    } else {
      return std::type_identity<NoParameters>();
    }
  }
  static auto tape() {
    if constexpr (HasTape<PolicyT, TypesT>) {
      return std::type_identity<typename PolicyT::template Tape<TypesT>>();
    } else {
      return std::type_identity<Nothing>();
    }
  }
  static auto workspace() {
    if constexpr (HasWorkspace<PolicyT, TypesT>) {
      return std::type_identity<typename PolicyT::template Workspace<TypesT>>();
    } else {
      return std::type_identity<Nothing>();
    }
  }
};
template <class PolicyT, class TypesT>
using ParametersOf = typename decltype(TypesOfPolicy<PolicyT, TypesT>::parameters())::type;
template <class PolicyT, class TypesT>
using TapeOf = typename decltype(TypesOfPolicy<PolicyT, TypesT>::tape())::type;
template <class PolicyT, class TypesT>
using WorkspaceOf = typename decltype(TypesOfPolicy<PolicyT, TypesT>::workspace())::type;

template <class RouterT, class ShapeT>
concept HasSlots = requires(const RouterT router, const ShapeT shape) {
  { router.slots(shape) } -> std::convertible_to<int>;
};
template <class RouterT, class ShapeT>
concept HasMaxRows = requires(const RouterT router, const ShapeT shape, int n) {
  { router.max_rows(shape, n) } -> std::convertible_to<int>;
};
template <class PolicyT, class ShapeT>
concept HasLimits = requires(const PolicyT policy, const ShapeT shape, int n) {
  policy.limits(shape, n);
};

template <class PolicyT, class TypesT>
concept MakesParameters = requires(const PolicyT policy, const ParameterMaker<typename TypesT::exec> maker,
                                   const typename TypesT::shape shape) {
  policy.template parameters<TypesT>(maker, shape);
};

template <class PolicyT, class TypesT>
concept MakesTape = requires(const PolicyT policy, Arena<typename TypesT::memory> arena,
                             const typename TypesT::shape shape, int n) {
  policy.template tape<TypesT>(arena, shape, n);
};
template <class PolicyT, class TypesT, class... UseT>
concept MakesWorkspace = requires(const PolicyT policy, Arena<typename TypesT::memory> arena,
                                  const typename TypesT::shape shape, int n, UseT... use) {
  policy.template workspace<TypesT>(arena, shape, n, use...);
};

template <class RouterT, class TypesT, class InputsT>
concept HasRoute = requires(const RouterT router, const Context<TypesT> context, const ParametersOf<RouterT, TypesT> p,
                            const InputsT in, const Routing<TypesT> routing, const TapeOf<RouterT, TypesT> tape,
                            const WorkspaceOf<RouterT, TypesT> workspace) {
  router.route(context, p, in, routing, tape, workspace);
};

template <class DispatcherT, class TypesT>
concept HasPlan = requires(const DispatcherT dispatcher, const Context<TypesT> context, const Routing<TypesT> routing,
                           const Plan<TypesT> plan, const WorkspaceOf<DispatcherT, TypesT> workspace) {
  dispatcher.plan(context, routing, plan, workspace);
};
template <class DispatcherT, class TypesT>
concept HasCombine = requires(const DispatcherT dispatcher, const Context<TypesT> context,
                              const Routing<TypesT> routing, const Plan<TypesT> plan,
                              const Matrix<typename TypesT::storage, typename TypesT::memory> rows) {
  dispatcher.combine(context, routing, plan, rows, rows, typename TypesT::compute(0));
};

template <class ExpertT, class TypesT>
concept HasExpertForward = requires(const ExpertT expert, const Context<TypesT> context,
                                    const ParametersOf<ExpertT, TypesT> p, const Segments segments,
                                    const RowSource<typename TypesT::storage, typename TypesT::compute> source,
                                    const Matrix<typename TypesT::storage, typename TypesT::memory> rows,
                                    const WorkspaceOf<ExpertT, TypesT> workspace) {
  expert.forward(context, p, segments, source, rows, NoTape{}, workspace);
};

template <class RouterT, class TypesT, class InputsT>
concept HasRouterBackward = requires(const RouterT router, const Context<TypesT> context,
                                     const ParametersOf<RouterT, TypesT> p, const InputsT in,
                                     const Routing<TypesT> routing, const TapeOf<RouterT, TypesT> tape,
                                     const Matrix<typename TypesT::compute, typename TypesT::memory> d,
                                     const Matrix<typename TypesT::storage, typename TypesT::memory> dx,
                                     const ParametersOf<RouterT, typename TypesT::gradients> g, const Backward options,
                                     const WorkspaceOf<RouterT, TypesT> workspace) {
  router.backward(context, p, in, routing, tape, d, d, d, dx, g, options, workspace);
};
template <class ExpertT, class TypesT>
concept HasExpertBackward = requires(const ExpertT expert, const Context<TypesT> context,
                                     const ParametersOf<ExpertT, TypesT> p, const TapeOf<ExpertT, TypesT> tape,
                                     const Segments segments,
                                     const RowSource<typename TypesT::storage, typename TypesT::compute> source,
                                     const Vector<typename TypesT::compute, typename TypesT::memory> d_gate_rows,
                                     const Matrix<typename TypesT::storage, typename TypesT::memory> d_rows,
                                     const ParametersOf<ExpertT, typename TypesT::gradients> g, const Backward options,
                                     const WorkspaceOf<ExpertT, TypesT> workspace) {
  expert.backward(context, p, tape, segments, source, source, d_gate_rows, d_rows, g, options, workspace);
};
template <class DispatcherT, class TypesT>
concept HasCombineBackward = requires(const DispatcherT dispatcher, const Context<TypesT> context,
                                      const Plan<TypesT> plan,
                                      const Vector<typename TypesT::compute, typename TypesT::memory> d_gate_rows,
                                      const Matrix<typename TypesT::compute, typename TypesT::memory> d_gates,
                                      const Matrix<typename TypesT::storage, typename TypesT::memory> rows) {
  dispatcher.combine_backward(context, plan, d_gate_rows, rows, d_gates, rows);
};

template <class BalancerT>
concept HasLossNames = requires {
  { BalancerT::loss_names() } -> std::convertible_to<std::vector<std::string>>;
};
template <class BalancerT, class TypesT>
concept HasLoss = requires(const BalancerT balancer, const Context<TypesT> context, const Routing<TypesT> routing,
                           const Plan<TypesT> plan, typename TypesT::compute* losses,
                           const balancing::Workspace<TypesT, BalancerT> workspace) {
  balancer.loss(context, routing, plan, losses, workspace);
};
template <class BalancerT, class TypesT>
concept HasLossBackward = requires(const BalancerT balancer, const Context<TypesT> context,
                                   const Routing<TypesT> routing, const Plan<TypesT> plan,
                                   const Matrix<typename TypesT::compute, typename TypesT::memory> d,
                                   const balancing::Workspace<TypesT, BalancerT> workspace) {
  balancer.backward(context, routing, plan, d, d, typename TypesT::compute(1), workspace);
};
template <class BalancerT, class TypesT, class RouterParametersT>
concept Balances = std::is_same_v<BalancerT, NoBalance> || balancing::adds_losses<BalancerT> ||
    requires(const BalancerT balancer, const Context<TypesT> context, const RouterParametersT router,
             const Vector<int, typename TypesT::memory> load) {
  balancer.update(context, router, load);
};

/// Flags of a router; one that does not say so is taken not to. (SwitchLoss then divides by the sum of the scores.)
template <class RouterT>
concept ScoresSumToOne = RouterT::scores_sum_to_one;
template <class RouterT>
concept ScoresAreLogits = RouterT::scores_are_logits;
template <class RouterT>
concept HasSelectionBias = RouterT::has_selection_bias;
/// Of a router or a projection.
template <class PolicyT>
concept DrawsNoise = PolicyT::draws_noise;

template <class EngineT>
concept ChoosesEngine = requires {
  typename EngineT::template type<Kokkos::DefaultHostExecutionSpace, float>;
};

}  // namespace moe::detail
