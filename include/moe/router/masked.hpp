#pragma once

#include <moe/core/inputs.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/parameters.hpp>
#include <moe/core/routing.hpp>
#include <moe/router/linear_projection.hpp>
#include <moe/router/projection.hpp>
#include <moe/router/select.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <string>

namespace moe {
namespace detail {

template <class RoutingT>
struct MaskLogits {
  using T = typename RoutingT::compute;
  RoutingT routing;
  const T* mask;
  int num_experts;

  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    for (int e = 0; e < num_experts; ++e) {
      if (!(mask[e] > 0)) routing.logits(t, e) = out_of_service<T>;
    }
  }
};

}  // namespace detail

/// Experts may be out of service: another projection, and a buffer `mask` [experts], 1 for an expert that works and 0 for
/// one that does not, which travels with the weights and starts at 1. An expert that is out of service is chosen by
/// nobody and has no part in the scores of the others; a token that finds fewer experts than it has slots for leaves the
/// rest empty. So a server goes on without a device, and a trainer without an expert that has broken.
template <class ProjectionT = LinearProjection<>>
struct Masked {
  [[no_unique_address]] ProjectionT projection{};

  static constexpr bool needs_sides = detail::NeedsSides<ProjectionT>;
  static constexpr bool draws_noise = detail::DrawsNoise<ProjectionT>;
  static constexpr bool masks_experts = true;

  template <class TypesT>
  struct Parameters : ProjectionT::template Parameters<TypesT> {
    using Projection = typename ProjectionT::template Parameters<TypesT>;
    Tensor<typename TypesT::compute, typename TypesT::memory> mask;  ///< [experts]

    template <class F, class... TreesT>
    static void for_each(F&& f, TreesT&... trees) {
      Projection::for_each(f, trees...);
      f(trees.mask...);
    }
  };
  template <class TypesT>
  using Tape = typename ProjectionT::template Tape<TypesT>;
  template <class TypesT>
  using Workspace = typename ProjectionT::template Workspace<TypesT>;

  template <class ShapeT>
  void check(const ShapeT& shape) const {
    if constexpr (requires { projection.check(shape); }) projection.check(shape);
  }
  template <class ShapeT>
  EngineLimits limits(const ShapeT& shape, int max_tokens) const {
    return projection.limits(shape, max_tokens);
  }
  template <class TypesT, class MakerT>
  Parameters<TypesT> parameters(const MakerT& maker, const typename TypesT::shape& shape) const {
    const int experts = shape.experts;
    return {projection.template parameters<TypesT>(maker, shape),
            maker.template make<typename TypesT::compute, RowMajor>(
                {"mask", {experts}, 1, {1, experts, 1}, {.trainable = false, .decay = false}}, Ones{})};
  }
  template <class TypesT, class ArenaT>
  Tape<TypesT> tape(ArenaT& arena, const typename TypesT::shape& shape, int max_tokens) const {
    return projection.template tape<TypesT>(arena, shape, max_tokens);
  }
  template <class TypesT, class ArenaT>
  Workspace<TypesT> workspace(ArenaT& arena, const typename TypesT::shape& shape, int max_tokens, Use use) const {
    return detail::workspace_of<TypesT>(projection, arena, shape, max_tokens, use);
  }

  template <class TypesT, class InputsT, class TapeT>
  void forward(const Context<TypesT>& context, const Parameters<TypesT>& p, const InputsT& in,
               const Routing<TypesT>& routing, const TapeT& tape, const Workspace<TypesT>& workspace) const {
    const std::string& label = detail::kernel_label<"moe::masked">;
    projection.forward(context, p, in, routing, tape, workspace);
    detail::launch(context.exec, label, context.num_tokens,
                   detail::MaskLogits<Routing<TypesT>>{routing, p.mask.storage.data(), context.shape.experts});
  }
  /// The router has cleared the gradients of the logits that are out of service.
  template <class TypesT, class InputsT, class TapeT, class MatrixT, class DxT>
  void backward(const Context<TypesT>& context, const Parameters<TypesT>& p, const InputsT& in,
                const Routing<TypesT>& routing, const TapeT& tape, const MatrixT& d_logits, const DxT& dx,
                const Parameters<typename TypesT::gradients>& g, const Backward& options,
                const Workspace<TypesT>& workspace) const {
    projection.backward(context, p, in, routing, tape, d_logits, dx, g, options, workspace);
  }
};

}  // namespace moe
