#pragma once

#include <moe/core/kernel.hpp>
#include <moe/core/routing.hpp>
#include <moe/router/linear_projection.hpp>
#include <moe/router/score.hpp>
#include <moe/router/select.hpp>
#include <moe/router/selection_bias.hpp>
#include <moe/router/weigh.hpp>

#include <cstdint>
#include <string>

namespace moe {
namespace detail {

/// score -> select -> weigh, for one token.
template <class RoutingT, class ScoreT, class SelectT, class WeighT>
struct RouteToken {
  RoutingT routing;
  const typename RoutingT::compute* bias;
  int num_experts;
  [[no_unique_address]] ScoreT score;
  [[no_unique_address]] SelectT select;
  [[no_unique_address]] WeighT weigh;

  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    auto* const scores = &routing.scores(t, 0);
    auto* const ids = &routing.ids(t, 0);
    score.forward(&routing.logits(t, 0), scores, num_experts);
    select(Candidates<typename RoutingT::compute>{scores, bias, num_experts}, ids);
    weigh.forward(scores, ids, &routing.gates(t, 0), routing.slots());
  }
};

/// The same way back: d_gates -> d_scores -> d_logits, both added to.
template <class RoutingT, class ScoreT, class WeighT>
struct RouteTokenBackward {
  using Compute = typename RoutingT::compute;
  using MatrixT = decltype(RoutingT::gates);

  RoutingT routing;
  MatrixT d_gates;
  MatrixT d_scores;
  MatrixT d_logits;
  int num_experts;
  [[no_unique_address]] ScoreT score;
  [[no_unique_address]] WeighT weigh;

  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    const Compute* const scores = &routing.scores(t, 0);
    weigh.backward(scores, &routing.ids(t, 0), &routing.gates(t, 0), &d_gates(t, 0), &d_scores(t, 0), routing.slots());
    score.backward(&routing.logits(t, 0), scores, &d_scores(t, 0), &d_logits(t, 0), num_experts);
  }
};

}  // namespace detail

/// A router of four stages: project -> score -> select -> weigh. Each stage is a policy; a fifth says whether the
/// choice sees a bias of its own.
template <class ProjectionT = LinearProjection<>, class ScoreT = Softmax, class SelectT = TopK<2>, class WeighT = Keep,
          class SelectionBiasT = NoSelectionBias>
struct Router {
  [[no_unique_address]] ProjectionT projection{};
  [[no_unique_address]] ScoreT score{};
  [[no_unique_address]] SelectT select{};
  [[no_unique_address]] WeighT weigh{};
  [[no_unique_address]] SelectionBiasT selection_bias{};

  static constexpr bool has_selection_bias = SelectionBiasT::exists;
  static constexpr bool scores_sum_to_one = ScoreT::sums_to_one;

  template <class TypesT>
  struct Parameters : ProjectionT::template Parameters<TypesT>, SelectionBiasT::template Parameters<TypesT> {
    using Projection = typename ProjectionT::template Parameters<TypesT>;
    using Bias = typename SelectionBiasT::template Parameters<TypesT>;

    template <class F, class... TreesT>
    static void for_each(F&& f, TreesT&... trees) {
      Projection::for_each(f, trees...);
      Bias::for_each(f, trees...);
    }
  };
  template <class TypesT>
  using Tape = Nothing;
  template <class TypesT>
  using Workspace = typename ProjectionT::template Workspace<TypesT>;

  template <class ShapeT>
  void check(const ShapeT& shape) const {
    select.check(shape);
  }
  template <class ShapeT>
  int slots(const ShapeT& shape) const {
    return select.slots(shape);
  }
  template <class ShapeT>
  int max_rows(const ShapeT& shape, int num_tokens) const {
    return num_tokens * slots(shape);
  }
  template <class ShapeT>
  EngineLimits limits(const ShapeT& shape, int max_tokens) const {
    return projection.limits(shape, max_tokens);
  }

  template <class TypesT, class MakerT>
  Parameters<TypesT> parameters(const MakerT& maker, const typename TypesT::shape& shape) const {
    return {projection.template parameters<TypesT>(maker, shape),
            selection_bias.template parameters<TypesT>(maker, shape)};
  }
  template <class TypesT, class ArenaT>
  Nothing tape(ArenaT&, const typename TypesT::shape&, int) const {
    return {};
  }
  template <class TypesT, class ArenaT>
  Workspace<TypesT> workspace(ArenaT& arena, const typename TypesT::shape& shape, int max_tokens) const {
    return projection.template workspace<TypesT>(arena, shape, max_tokens);
  }

  /// Writes logits, scores, ids and gates of every token.
  template <class TypesT, class InputsT, class TapeT>
  void route(const Context<TypesT>& context, const Parameters<TypesT>& p, const InputsT& in,
             const Routing<TypesT>& routing, const TapeT&, const Workspace<TypesT>&) const {
    const std::string& label = detail::kernel_label<"moe::router::route">;
    projection.forward(context, p, in, routing.logits);
    detail::launch(context.exec, label, context.num_tokens,
                   detail::RouteToken<Routing<TypesT>, ScoreT, SelectT, WeighT>{
                       routing, SelectionBiasT::template data<typename TypesT::compute>(p), context.shape.experts,
                       score, select, weigh});
  }

  /// Adds the gates' share to d_scores and d_logits, writes the gradients of the parameters and adds to dx.
  template <class TypesT, class InputsT, class TapeT, class MatrixT, class DxT>
  void backward(const Context<TypesT>& context, const Parameters<TypesT>& p, const InputsT& in,
                const Routing<TypesT>& routing, const TapeT&, const MatrixT& d_gates, const MatrixT& d_scores,
                const MatrixT& d_logits, const DxT& dx, const Parameters<TypesT>& g, const Backward& options,
                const Workspace<TypesT>& workspace) const {
    const std::string& label = detail::kernel_label<"moe::router::backward">;
    detail::launch(context.exec, label, context.num_tokens,
                   detail::RouteTokenBackward<Routing<TypesT>, ScoreT, WeighT>{routing, d_gates, d_scores, d_logits,
                                                                               context.shape.experts, score, weigh});
    projection.backward(context, p, in, d_logits, dx, g, options, workspace);
  }
};

/// Softmax over all experts, then the k largest. (Switch, Mixtral and Qwen3-MoE with Normalise, OLMoE with Keep.)
template <int KV, class WeighT = Keep>
using SoftmaxTopK = Router<LinearProjection<>, Softmax, TopK<KV>, WeighT>;

/// A sigmoid for each expert, then the k largest, with SelectionBias by score plus bias. (DeepSeek-V3 without groups,
/// MiniMax-M2, both with Normalise.)
template <int KV, class WeighT = Keep, class SelectionBiasT = NoSelectionBias>
using SigmoidTopK = Router<LinearProjection<>, Sigmoid, TopK<KV>, WeighT, SelectionBiasT>;

}  // namespace moe
