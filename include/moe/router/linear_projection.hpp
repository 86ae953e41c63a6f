#pragma once

#include <moe/core/inputs.hpp>
#include <moe/core/routing.hpp>
#include <moe/gemm/linear.hpp>
#include <moe/router/projection.hpp>

#include <cstdint>

namespace moe {
namespace detail {

/// x as the operand of a product.
template <class TypesT, class ViewT>
auto token_rows(const ViewT& x) {
  return RowSource<typename ViewT::non_const_value_type, typename TypesT::compute>{.data = x.data(),
                                                                                   .stride = std::int64_t(x.stride(0))};
}
/// dx as what a product is added to.
template <class ViewT>
auto add_to_rows(const ViewT& dx) {
  using T = typename ViewT::non_const_value_type;
  return AddToRows<T>{{dx.data(), std::int64_t(dx.stride(0)), int(dx.extent(1))}};
}

}  // namespace detail

/// Logits z = W x, or z = W x + b with `LinearProjection<WithBias>`. W is [experts, hidden], float or wider whatever the
/// storage, normal with standard deviation 0.02 (flaxformer's router); b starts at zero.
template <class BiasT = NoBias>
struct LinearProjection {
  double stddev = 0.02;  ///< of the initial weights

  using Map = detail::DenseMap<BiasT>;
  template <class TypesT>
  using Parameters = typename Map::template Parameters<typename TypesT::compute, typename TypesT::memory,
                                                       typename TypesT::engine::Layout>;
  template <class TypesT>
  using Tape = Nothing;
  template <class TypesT>
  using Workspace = detail::ColumnSum<typename TypesT::compute>;

  template <class TypesT, class MakerT>
  Parameters<TypesT> parameters(const MakerT& maker, const typename TypesT::shape& shape) const {
    return Map::template parameters<typename TypesT::compute, typename TypesT::engine::Layout>(
        maker, shape.experts, shape.hidden, Normal{stddev});
  }
  template <class TypesT, class ArenaT>
  Nothing tape(ArenaT&, const typename TypesT::shape&, int) const {
    return {};
  }
  template <class TypesT, class ArenaT>
  Workspace<TypesT> workspace(ArenaT& arena, const typename TypesT::shape& shape, int max_tokens, Use use) const {
    if (use == Use::inference) return {};
    return {arena, max_tokens, shape.experts};
  }
  template <class ShapeT>
  EngineLimits limits(const ShapeT& shape, int max_tokens) const {
    return Map::limits(max_tokens, shape.experts, shape.hidden);
  }

  template <class TypesT, class InputsT, class TapeT>
  void forward(const Context<TypesT>& context, const Parameters<TypesT>& p, const InputsT& in,
               const Routing<TypesT>& routing, const TapeT&, const Workspace<TypesT>&) const {
    Map::forward(
        context.exec, context.engine, p, context.num_tokens, detail::token_rows<TypesT>(in.x),
        detail::OutputRows<typename TypesT::compute>{routing.logits.data(), std::int64_t(routing.logits.stride(0))});
  }

  /// Writes the gradients of W and b, adds W^T d_logits to dx.
  template <class TypesT, class InputsT, class TapeT, class MatrixT, class DxT>
  void backward(const Context<TypesT>& context, const Parameters<TypesT>& p, const InputsT& in, const Routing<TypesT>&,
                const TapeT&, const MatrixT& d_logits, const DxT& dx, const Parameters<typename TypesT::gradients>& g,
                const Backward& options, const Workspace<TypesT>& workspace) const {
    using Compute = typename TypesT::compute;
    const RowSource<Compute> delta{.data = d_logits.data(), .stride = std::int64_t(d_logits.stride(0))};
    Map::backward_parameters(context.exec, context.engine, g, context.num_tokens, delta,
                             detail::token_rows<TypesT>(in.x), workspace, options.accumulate);
    Map::backward_rows(context.exec, context.engine, p, context.num_tokens, delta, detail::add_to_rows(dx));
  }
};

}  // namespace moe
