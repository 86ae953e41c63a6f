#pragma once

#include <moe/moe.hpp>

#include <optional>

/// A dispatcher that is chosen at run time: Capacity where there is one, else Dropless. Both sort by the same scratch and go
/// back by the same way.
struct MaybeCapacity : moe::Combine {
  std::optional<moe::Capacity<>> capacity;

  template <class TypesT>
  using Workspace = moe::Dropless::Workspace<TypesT>;
  template <class TypesT, class ArenaT>
  Workspace<TypesT> workspace(ArenaT& arena, const typename TypesT::shape& shape, int max_tokens, int slots) const {
    return capacity ? capacity->workspace<TypesT>(arena, shape, max_tokens, slots)
                    : moe::Dropless().workspace<TypesT>(arena, shape, max_tokens, slots);
  }

  template <class TypesT>
  void plan(const moe::Context<TypesT>& context, const moe::Routing<TypesT>& routing, const moe::Plan<TypesT>& plan,
            const Workspace<TypesT>& workspace) const {
    capacity ? capacity->plan(context, routing, plan, workspace)
             : moe::Dropless().plan(context, routing, plan, workspace);
  }
};
