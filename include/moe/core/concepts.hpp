#pragma once

#include <moe/core/balancing.hpp>
#include <moe/core/parameters.hpp>
#include <moe/core/routing.hpp>
#include <moe/core/types.hpp>

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

template <class RouterT, class ShapeT>
concept HasSlots = requires(const RouterT router, const ShapeT shape) {
  int(router.slots(shape));
};
template <class RouterT, class ShapeT>
concept HasMaxRows = requires(const RouterT router, const ShapeT shape, int n) {
  int(router.max_rows(shape, n));
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

template <class RouterT, class TypesT, class InputsT>
concept HasRoute = requires(const RouterT router, const Context<TypesT> context,
                            const typename RouterT::template Parameters<TypesT> p, const InputsT in,
                            const Routing<TypesT> routing, const typename RouterT::template Tape<TypesT> tape,
                            const typename RouterT::template Workspace<TypesT> workspace) {
  router.route(context, p, in, routing, tape, workspace);
};

template <class DispatcherT, class TypesT>
concept HasPlan = requires(const DispatcherT dispatcher, const Context<TypesT> context, const Routing<TypesT> routing,
                           const Plan<TypesT> plan, const typename DispatcherT::template Workspace<TypesT> workspace) {
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
                                    const typename ExpertT::template Parameters<TypesT> p, const Segments segments,
                                    const RowSource<typename TypesT::storage, typename TypesT::compute> source,
                                    const Matrix<typename TypesT::storage, typename TypesT::memory> rows,
                                    const typename ExpertT::template Workspace<TypesT> workspace) {
  expert.forward(context, p, segments, source, rows, NoTape{}, workspace);
};

template <class BalancerT, class TypesT, class RouterParametersT>
concept Balances = balancing::adds_losses<BalancerT> ||
    requires(const BalancerT balancer, const Context<TypesT> context, const RouterParametersT router,
             const Vector<int, typename TypesT::memory> load) {
  balancer.update(context, router, load);
};

}  // namespace moe::detail
