#pragma once

#include <moe/core/kernel.hpp>
#include <moe/core/reduce.hpp>
#include <moe/core/routing.hpp>
#include <moe/dispatch/combine.hpp>

#include <cstdint>
#include <string>

namespace moe {
namespace detail {

/// Tokens whose assignments one work item counts and places, one after the other: the order of rows within an expert
/// is the order of tokens, whatever the threads do.
inline constexpr int sort_block = 64;

/// counts[block, e]: assignments to expert e within a block of tokens.
template <class RoutingT>
struct CountAssignments {
  RoutingT routing;
  int* counts;
  int num_tokens;
  int num_experts;

  KOKKOS_FUNCTION void operator()(std::int64_t block) const {
    int* const mine = counts + block * num_experts;
    for (int e = 0; e < num_experts; ++e) mine[e] = 0;
    const int end = Kokkos::min(num_tokens, int(block + 1) * sort_block);
    for (int t = int(block) * sort_block; t < end; ++t) {
      for (int slot = 0; slot < routing.slots(); ++slot) {
        const int e = routing.ids(t, slot);
        if (e >= 0) ++mine[e];
      }
    }
  }
};

/// For one expert: counts become the rows before the block; the sum is the expert's load.
template <class LoadT>
struct ScanBlocks {
  int* counts;
  LoadT load;
  int num_blocks;
  int num_experts;

  KOKKOS_FUNCTION void operator()(std::int64_t e) const {
    int sum = 0;
    for (int block = 0; block < num_blocks; ++block) {
      int& count = counts[std::int64_t(block) * num_experts + e];
      const int before = sum;
      sum += count;
      count = before;
    }
    load(e) = sum;
  }
};

template <class PlanT>
struct ScanExperts {
  PlanT plan;
  int num_experts;

  KOKKOS_FUNCTION void operator()(std::int64_t) const {
    int sum = 0;
    for (int e = 0; e < num_experts; ++e) {
      plan.offsets(e) = sum;
      sum += plan.load(e);
    }
    plan.offsets(num_experts) = sum;
  }
};

template <class RoutingT, class PlanT>
struct PlaceAssignments {
  RoutingT routing;
  PlanT plan;
  int* next;
  int num_tokens;
  int num_experts;

  KOKKOS_FUNCTION void operator()(std::int64_t block) const {
    int* const mine = next + block * num_experts;
    const int end = Kokkos::min(num_tokens, int(block + 1) * sort_block);
    for (int t = int(block) * sort_block; t < end; ++t) {
      for (int slot = 0; slot < routing.slots(); ++slot) {
        const int e = routing.ids(t, slot);
        if (e < 0) {
          plan.rows(t, slot) = -1;
          continue;
        }
        const int row = plan.offsets(e) + mine[e]++;
        plan.rows(t, slot) = row;
        plan.tokens(row) = t;
        plan.gates(row) = routing.gates(t, slot);
      }
    }
  }
};

}  // namespace detail

/// Every assignment gets its row: a counting sort on the device, stable in the token. (MegaBlocks' dropless mixture,
/// Gale et al. 2022.)
struct Dropless : Combine {
  template <class TypesT>
  struct Workspace {
    int* counts = nullptr;  ///< [blocks, experts]
  };

  template <class ShapeT>
  void check(const ShapeT&) const {}

  template <class TypesT, class ArenaT>
  Workspace<TypesT> workspace(ArenaT& arena, const typename TypesT::shape& shape, int max_tokens) const {
    return {arena.template take<int>(std::int64_t(num_blocks(max_tokens)) * shape.experts)};
  }

  /// Sorts the assignments of the routing by expert.
  template <class TypesT>
  void plan(const Context<TypesT>& context, const Routing<TypesT>& routing, const Plan<TypesT>& plan,
            const Workspace<TypesT>& workspace) const {
    const std::string& count_label = detail::kernel_label<"moe::dropless::count">;
    const std::string& scan_label = detail::kernel_label<"moe::dropless::scan">;
    const std::string& place_label = detail::kernel_label<"moe::dropless::place">;
    using RoutingT = Routing<TypesT>;
    using PlanT = Plan<TypesT>;
    const int tokens = context.num_tokens, experts = context.shape.experts, blocks = num_blocks(tokens);
    detail::launch(context.exec, count_label, blocks,
                   detail::CountAssignments<RoutingT>{routing, workspace.counts, tokens, experts});
    detail::launch(context.exec, scan_label, experts,
                   detail::ScanBlocks<decltype(plan.load)>{workspace.counts, plan.load, blocks, experts});
    detail::launch(context.exec, scan_label, 1, detail::ScanExperts<PlanT>{plan, experts});
    detail::launch(context.exec, place_label, blocks,
                   detail::PlaceAssignments<RoutingT, PlanT>{routing, plan, workspace.counts, tokens, experts});
  }

 private:
  static int num_blocks(int tokens) { return (tokens + detail::sort_block - 1) / detail::sort_block; }
};

}  // namespace moe
