#pragma once

#include <moe/core/inputs.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/routing.hpp>
#include <moe/router/linear_projection.hpp>
#include <moe/router/projection.hpp>
#include <moe/router/replay.hpp>
#include <moe/router/score.hpp>
#include <moe/router/select.hpp>
#include <moe/router/selection_bias.hpp>
#include <moe/router/stages.hpp>
#include <moe/router/weigh.hpp>

#include <cstdint>
#include <string>
#include <type_traits>

namespace moe {
namespace detail {

/// The workspace of a selection that looks at the whole batch.
template <class SelectT, class TypesT>
struct SelectWorkspace {
  using type = Nothing;
};
template <class SelectT, class TypesT>
requires ChoosesWholeBatch<SelectT>
struct SelectWorkspace<SelectT, TypesT> {
  using type = typename SelectT::template Workspace<TypesT>;
};

template <class RoutingT, class ScoreT>
struct ScoreToken {
  RoutingT routing;
  int num_experts;
  [[no_unique_address]] ScoreT score;

  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    score.forward(&routing.logits(t, 0), &routing.scores(t, 0), num_experts);
  }
};

template <class RoutingT, class SelectT, bool MasksV>
struct SelectForToken {
  RoutingT routing;
  int num_experts;
  const typename RoutingT::compute* bias;
  [[no_unique_address]] SelectT select;

  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    using T = typename RoutingT::compute;
    select(Candidates<T>{&routing.scores(t, 0), bias, num_experts, MasksV ? &routing.logits(t, 0) : nullptr},
           &routing.ids(t, 0));
  }
};

/// The gates of the ids, after those of experts that are out of service have become empty slots.
template <class RoutingT, class WeighT, bool MasksV>
struct WeighToken {
  RoutingT routing;
  [[no_unique_address]] WeighT weigh;

  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    int* const ids = &routing.ids(t, 0);
    if constexpr (MasksV) {
      for (int slot = 0; slot < routing.slots(); ++slot) {
        if (ids[slot] >= 0 && routing.logits(t, ids[slot]) == out_of_service<typename RoutingT::compute>) {
          ids[slot] = -1;
        }
      }
    }
    weigh.forward(&routing.scores(t, 0), ids, &routing.gates(t, 0), routing.slots());
  }
};

/// Several stages for one token, one after the other.
template <class... StagesT>
struct TokenStages;
template <>
struct TokenStages<> {
  KOKKOS_FUNCTION void operator()(std::int64_t) const {}
};
template <class FirstT, class... RestT>
struct TokenStages<FirstT, RestT...> {
  FirstT first;
  [[no_unique_address]] TokenStages<RestT...> rest;
  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    first(t);
    rest(t);
  }
};
inline TokenStages<> token_stages() { return {}; }
template <class FirstT, class... RestT>
TokenStages<FirstT, RestT...> token_stages(const FirstT& first, const RestT&... rest) {
  return {first, token_stages(rest...)};
}

/// weigh and score the way back: d_gates -> d_scores -> d_logits, both added to.
template <class RoutingT, class ScoreT, class WeighT, bool MasksV>
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
    const Compute* const gates = &routing.gates(t, 0);
    const Compute* const d_gate = &d_gates(t, 0);
    weigh.backward(scores, &routing.ids(t, 0), gates, d_gate, &d_scores(t, 0), routing.slots());
    score.backward(&routing.logits(t, 0), scores, &d_scores(t, 0), &d_logits(t, 0), num_experts);
    if constexpr (MasksV) {
      for (int e = 0; e < num_experts; ++e) {
        if (routing.logits(t, e) == out_of_service<Compute>) d_logits(t, e) = 0;
      }
    }
  }
};

}  // namespace detail

/// A router of four stages: project -> score -> select -> weigh. Each stage is a policy; a fifth says whether the
/// choice sees a bias of its own. With moe::Replay among the inputs the choice is the recorded one instead; gates and
/// their gradients come from the logits of this run.
///
/// A router that does not factor so implements `route` itself. It may ask for side inputs, `side<TokenIds>(inputs)`;
/// then it declares `static constexpr bool needs_sides = true`, and a layer does not try it with x alone.
template <class ProjectionT = LinearProjection<>, class ScoreT = Softmax, class SelectT = TopK<2>, class WeighT = Keep,
          class SelectionBiasT = NoSelectionBias>
struct Router {
  static_assert(detail::IsProjection<ProjectionT>,
                "moe: the first stage of Router is a projection, which makes the logits: moe::LinearProjection<>");
  static_assert(detail::IsScore<ScoreT>,
                "moe: the second stage of Router is a score, as moe::Softmax: `forward(logits, scores, num_experts) "
                "const`, `backward(logits, scores, d_scores, d_logits, num_experts) const`, `sums_to_one`");
  static_assert(detail::IsSelection<SelectT>,
                "moe: the third stage of Router is a selection, as moe::TopK<2>: `slots(shape) const` and "
                "`operator()(candidates, ids) const`; or `choose`, with `whole_batch = true`");
  static_assert(detail::IsWeigh<WeighT>,
                "moe: the fourth stage of Router makes the gates, as moe::Normalise: `forward(scores, ids, gates, "
                "slots) const` and `backward(scores, ids, gates, d_gates, d_scores, slots) const`");
  static_assert(detail::IsSelectionBias<SelectionBiasT>,
                "moe: the fifth argument of Router is moe::SelectionBias or moe::NoSelectionBias");
  static_assert(!(detail::ChoosesWholeBatch<SelectT> && detail::BiasExists<SelectionBiasT>),
                "moe: a selection of the whole batch (ExpertChoice, Sinkhorn) balances by itself and takes no "
                "SelectionBias; leave it out");

  [[no_unique_address]] ProjectionT projection{};
  [[no_unique_address]] ScoreT score{};
  [[no_unique_address]] SelectT select{};
  [[no_unique_address]] WeighT weigh{};
  [[no_unique_address]] SelectionBiasT selection_bias{};

  static constexpr bool has_selection_bias = detail::BiasExists<SelectionBiasT>;
  static constexpr bool scores_sum_to_one = detail::SumsToOne<ScoreT>;
  static constexpr bool scores_are_logits = detail::AreLogits<ScoreT>;
  static constexpr bool needs_sides = detail::NeedsSides<ProjectionT>;
  static constexpr bool draws_noise = detail::DrawsNoise<ProjectionT>;

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
  using Tape = typename ProjectionT::template Tape<TypesT>;
  template <class TypesT>
  struct Workspace {
    typename ProjectionT::template Workspace<TypesT> projection;
    [[no_unique_address]] typename detail::SelectWorkspace<SelectT, TypesT>::type select;
  };

  template <class ShapeT>
  void check(const ShapeT& shape) const {
    if constexpr (requires { projection.check(shape); }) projection.check(shape);
    if constexpr (requires { select.check(shape); }) select.check(shape);
    if constexpr (requires { weigh.check(0); }) weigh.check(slots(shape));
  }
  template <class ShapeT>
  int slots(const ShapeT& shape) const {
    return select.slots(shape);
  }
  template <class ShapeT>
  int max_rows(const ShapeT& shape, int num_tokens) const {
    if constexpr (requires { select.max_rows(shape, num_tokens); }) return select.max_rows(shape, num_tokens);
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
  Tape<TypesT> tape(ArenaT& arena, const typename TypesT::shape& shape, int max_tokens) const {
    return projection.template tape<TypesT>(arena, shape, max_tokens);
  }
  template <class TypesT, class ArenaT>
  Workspace<TypesT> workspace(ArenaT& arena, const typename TypesT::shape& shape, int max_tokens, Use use) const {
    Workspace<TypesT> w;
    w.projection = detail::workspace_of<TypesT>(projection, arena, shape, max_tokens, use);
    if constexpr (detail::ChoosesWholeBatch<SelectT>) {
      w.select = detail::workspace_of<TypesT>(select, arena, shape, max_tokens, use);
    }
    return w;
  }

  /// Writes logits, scores, ids and gates of every token.
  template <class TypesT, class InputsT, class TapeT>
  void route(const Context<TypesT>& context, const Parameters<TypesT>& p, const InputsT& in,
             const Routing<TypesT>& routing, const TapeT& tape, const Workspace<TypesT>& workspace) const {
    using RoutingT = Routing<TypesT>;
    const std::string& label = detail::kernel_label<"moe::router::route">;
    const int experts = context.shape.experts;
    const detail::ScoreToken<RoutingT, ScoreT> scores{routing, experts, score};
    const detail::WeighToken<RoutingT, WeighT, masks> gates{routing, weigh};

    projection.forward(context, p, in, routing, tape, workspace.projection);
    if constexpr (has_side_v<Replay, InputsT>) {
      detail::launch(context.exec, label, context.num_tokens,
                     detail::token_stages(scores, detail::replay_token(routing, side<Replay>(in), experts)));
      if constexpr (requires { select.clip(context, routing); }) select.clip(context, routing);
      detail::launch(context.exec, label, context.num_tokens, gates);
    } else if constexpr (detail::ChoosesWholeBatch<SelectT>) {
      detail::launch(context.exec, label, context.num_tokens, scores);
      select.choose(context, routing, tape, workspace.select);
      detail::launch(context.exec, label, context.num_tokens, gates);
    } else {
      const detail::SelectForToken<RoutingT, SelectT, masks> ids{
          routing, experts, SelectionBiasT::template data<typename TypesT::compute>(p), select};
      detail::launch(context.exec, label, context.num_tokens, detail::token_stages(scores, ids, gates));
    }
  }

  /// Adds the gates' share to d_scores and d_logits, writes the gradients of the parameters and adds to dx.
  template <class TypesT, class InputsT, class TapeT, class MatrixT, class DxT>
  void backward(const Context<TypesT>& context, const Parameters<TypesT>& p, const InputsT& in,
                const Routing<TypesT>& routing, const TapeT& tape, const MatrixT& d_gates, const MatrixT& d_scores,
                const MatrixT& d_logits, const DxT& dx, const Parameters<typename TypesT::gradients>& g,
                const Backward& options, const Workspace<TypesT>& workspace) const {
    const std::string& label = detail::kernel_label<"moe::router::backward">;
    detail::launch(context.exec, label, context.num_tokens,
                   detail::RouteTokenBackward<Routing<TypesT>, ScoreT, WeighT, masks>{
                       routing, d_gates, d_scores, d_logits, context.shape.experts, score, weigh});
    projection.backward(context, p, in, routing, tape, d_logits, dx, g, options, workspace.projection);
  }

 private:
  static constexpr bool masks = detail::MasksExperts<ProjectionT>;
};

/// Softmax over all experts, then the k largest. (Switch, Mixtral and Qwen3-MoE with Normalise, OLMoE with Keep.)
template <int KV, class WeighT = Keep>
using SoftmaxTopK = Router<LinearProjection<>, Softmax, TopK<KV>, WeighT>;

/// The k largest logits, then softmax over them. (GPT-OSS, with LinearProjection<WithBias>; Megatron-LM without
/// moe_router_pre_softmax.) Refuses k = 1, where the gate would be 1 and the router would never learn.
template <int KV, class ProjectionT = LinearProjection<>>
using TopKSoftmax = Router<ProjectionT, IdentityScore, TopK<KV>, SoftmaxSelected>;

/// A sigmoid for each expert, then the k largest, with SelectionBias by score plus bias. (DeepSeek-V3 without groups,
/// MiniMax-M2, both with Normalise.)
template <int KV, class WeighT = Keep, class SelectionBiasT = NoSelectionBias>
using SigmoidTopK = Router<LinearProjection<>, Sigmoid, TopK<KV>, WeighT, SelectionBiasT>;

}  // namespace moe
