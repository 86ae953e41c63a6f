#pragma once

#include <moe/core/kernel.hpp>
#include <moe/core/routing.hpp>
#include <moe/core/shape.hpp>

#include <cstdint>
#include <string>

namespace moe {
namespace detail {

/// out[t, c] = beta * out[t, c] + sum over the token's slots, in slot order, of weight * rows[row of the slot, c].
template <class PlanT, class OutT, class RowsT, class WeightT>
struct GatherRows {
  PlanT plan;
  WeightT weight;
  RowsT rows;
  OutT out;
  typename PlanT::compute beta;
  int chunks;

  /// Columns of one work item: neighbours in memory for a CPU, enough items for a device at one token.
  static constexpr int chunk = 64;

  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    const int t = int(item / chunks), first = int(item % chunks) * chunk;
    const int left = int(out.extent(1)) - first;
    if (left >= chunk) {
      gather(t, first, Size<chunk>());  // a constant bound: the compiler makes vectors of it
    } else {
      gather(t, first, left);
    }
  }

  template <class CountT>
  KOKKOS_FUNCTION void gather(int t, int first, CountT count) const {
    using Compute = typename PlanT::compute;
    Compute sum[chunk] = {};
    auto* const to = &out(t, first);
    if (beta != 0) {
      for (int c = 0; c < count; ++c) sum[c] = beta * Compute(to[c]);
    }
    for (int slot = 0; slot < int(plan.rows.extent(1)); ++slot) {
      const int row = plan.rows(t, slot);
      if (row < 0) continue;
      const Compute w = weight(t, slot);
      const auto* const from = &rows(row, first);
      for (int c = 0; c < count; ++c) sum[c] += w * Compute(from[c]);
    }
    for (int c = 0; c < count; ++c) to[c] = typename OutT::non_const_value_type(sum[c]);
  }
};

template <class T>
struct Unweighted {
  KOKKOS_FUNCTION T operator()(int, int) const { return T(1); }
};

/// d_gates[t, slot] = the gradient of its row; 0 where there is none.
template <class PlanT, class RowGatesT, class GatesT>
struct GatherGates {
  PlanT plan;
  RowGatesT d_gate_rows;
  GatesT d_gates;

  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    for (int slot = 0; slot < int(plan.rows.extent(1)); ++slot) {
      const int row = plan.rows(t, slot);
      d_gates(t, slot) = row < 0 ? typename PlanT::compute(0) : d_gate_rows(row);
    }
  }
};

}  // namespace detail

/// What every dispatcher whose plan has one row for each slot shares: the way from rows back to tokens. A gather, never
/// an atomic add, so the result does not depend on the order of threads.
struct Combine {
  /// y[t] = beta * y[t] + sum over slots of gate * rows[row of the slot]. With beta = 0 y need not be initialised.
  template <class TypesT, class RowsT, class ViewT>
  void combine(const Context<TypesT>& context, const Routing<TypesT>& routing, const Plan<TypesT>& plan,
               const RowsT& rows, const ViewT& y, typename TypesT::compute beta) const {
    const std::string& label = detail::kernel_label<"moe::combine::forward">;
    gather(context, label, plan, routing.gates, rows, y, beta);
  }

  /// d_gates[t, slot] from the rows' gates, and dx[t] = sum over slots of d_rows. Overwrites both.
  template <class TypesT, class RowGatesT, class RowsT, class GatesT, class ViewT>
  void combine_backward(const Context<TypesT>& context, const Plan<TypesT>& plan, const RowGatesT& d_gate_rows,
                        const RowsT& d_rows, const GatesT& d_gates, const ViewT& dx) const {
    const std::string& gates_label = detail::kernel_label<"moe::combine::d_gates">;
    const std::string& label = detail::kernel_label<"moe::combine::backward">;
    using PlanT = Plan<TypesT>;
    detail::launch(context.exec, gates_label, context.num_tokens,
                   detail::GatherGates<PlanT, RowGatesT, GatesT>{plan, d_gate_rows, d_gates});
    gather(context, label, plan, detail::Unweighted<typename TypesT::compute>{}, d_rows, dx, 0);
  }

 private:
  template <class TypesT, class WeightT, class RowsT, class ViewT>
  static void gather(const Context<TypesT>& context, const std::string& label, const Plan<TypesT>& plan,
                     const WeightT& weight, const RowsT& rows, const ViewT& out, typename TypesT::compute beta) {
    using Gather = detail::GatherRows<Plan<TypesT>, ViewT, RowsT, WeightT>;
    const int chunks = (int(out.extent(1)) + Gather::chunk - 1) / Gather::chunk;
    detail::launch(context.exec, label, std::int64_t(context.num_tokens) * chunks,
                   Gather{plan, weight, rows, out, beta, chunks});
  }
};

}  // namespace moe
