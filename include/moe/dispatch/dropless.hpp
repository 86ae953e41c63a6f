#pragma once

#include <moe/core/counting_sort.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/routing.hpp>
#include <moe/dispatch/combine.hpp>

#include <cstdint>
#include <string>

namespace moe {
namespace detail {

/// The expert of an assignment: token i / slots, slot i % slots.
template <class IdsT>
struct ExpertOf {
  IdsT ids;
  KOKKOS_FUNCTION int operator()(std::int64_t i) const { return ids.data()[i]; }
};

/// Notes an assignment's row, and what the row is.
template <class RoutingT, class PlanT>
struct PlaceRow {
  RoutingT routing;
  PlanT plan;

  KOKKOS_FUNCTION void operator()(std::int64_t i, int row) const {
    plan.rows.data()[i] = row;
    if (row < 0) return;
    plan.tokens(row) = int(i / routing.slots());
    plan.gates(row) = routing.gates.data()[i];
  }
};

template <class PlanT>
struct LoadOf {
  PlanT plan;
  KOKKOS_FUNCTION void operator()(std::int64_t e) const { plan.load(e) = plan.offsets(e + 1) - plan.offsets(e); }
};

}  // namespace detail

/// Every assignment gets its row: a counting sort on the device, stable in the token. (MegaBlocks' dropless mixture,
/// Gale et al. 2022.)
struct Dropless : Combine {
  template <class TypesT>
  using Workspace = detail::CountingSort;

  template <class TypesT, class ArenaT>
  detail::CountingSort workspace(ArenaT& arena, const typename TypesT::shape& shape, int max_tokens, int slots) const {
    return {arena, std::int64_t(max_tokens) * slots, shape.experts};
  }

  /// Sorts the assignments of the routing by expert.
  template <class TypesT>
  void plan(const Context<TypesT>& context, const Routing<TypesT>& routing, const Plan<TypesT>& plan,
            const detail::CountingSort& sort) const {
    const std::string& label = detail::kernel_label<"moe::dropless::plan">;
    sort(context.exec, label, std::int64_t(context.num_tokens) * routing.slots(),
         detail::ExpertOf<decltype(routing.ids)>{routing.ids}, plan.offsets.data(),
         detail::PlaceRow<Routing<TypesT>, Plan<TypesT>>{routing, plan});
    detail::launch(context.exec, label, context.shape.experts, detail::LoadOf<Plan<TypesT>>{plan});
  }
};

}  // namespace moe
