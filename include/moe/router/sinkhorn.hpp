#pragma once

#include <moe/core/error.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/reduce.hpp>
#include <moe/core/routing.hpp>
#include <moe/router/router.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <string>
#include <type_traits>

namespace moe {
namespace detail {

/// What the iteration works on.
template <class TypesT>
struct SinkhornState {
  using T = typename TypesT::compute;
  using Numbers = Vector<T, typename TypesT::memory>;

  Matrix<T, typename TypesT::memory> kernel;  ///< [tokens, padded experts], C = exp(z - max z), 0 for what is left out
  Numbers tokens;                             ///< [tokens], d0
  Numbers experts;                            ///< [experts], d1
  Numbers change;                             ///< [experts], of d1 in the last iteration
  Numbers partial;                            ///< [blocks, experts]
  Vector<int, typename TypesT::memory> converged;  ///< [1]
};

inline constexpr double sinkhorn_epsilon = 1e-8;

/// C of a token. Padding and tokens of logits that are NaN or infinitely large have none: they would spoil the columns.
template <class RoutingT, class StateT>
struct SinkhornKernel {
  RoutingT routing;
  StateT state;
  int num_experts;

  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    using T = typename RoutingT::compute;
    T largest = routing.logits(t, 0);
    bool usable = routing.is_real(t);
    for (int e = 0; e < num_experts; ++e) {
      largest = Kokkos::fmax(largest, routing.logits(t, e));
      usable = usable && !Kokkos::isnan(routing.logits(t, e));
    }
    usable = usable && Kokkos::isfinite(largest);
    for (int e = 0; e < num_experts; ++e) {
      state.kernel(t, e) = usable ? Kokkos::exp(routing.logits(t, e) - largest) : T(0);
    }
  }
};

template <class StateT>
struct SinkhornStart {
  StateT state;
  KOKKOS_FUNCTION void operator()(std::int64_t e) const {
    state.experts(e) = 1;
    if (e == 0) state.converged(0) = 0;
  }
};

/// d0 = (1 / T) / (sum_e d1 C + epsilon)
template <class RoutingT, class StateT>
struct SinkhornTokens {
  RoutingT routing;
  StateT state;
  int num_experts;

  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    using T = typename RoutingT::compute;
    if (state.converged(0)) return;
    T sum = 0;
    for (int e = 0; e < num_experts; ++e) sum += state.experts(e) * state.kernel(t, e);
    state.tokens(t) = 1 / T(routing.num_real()) / (sum + T(sinkhorn_epsilon));
  }
};

/// sum_t d0 C over a block of tokens, for one expert.
template <class RoutingT, class StateT>
struct SinkhornBlocks {
  RoutingT routing;
  StateT state;
  int num_experts;

  KOKKOS_FUNCTION void operator()(std::int64_t i) const {
    if (state.converged(0)) return;
    const std::int64_t block = i / num_experts, e = i % num_experts;
    const std::int64_t end = Kokkos::min(std::int64_t(routing.num_tokens()), (block + 1) * reduce_block);
    typename RoutingT::compute sum = 0;
    for (std::int64_t t = block * reduce_block; t < end; ++t) sum += state.tokens(t) * state.kernel(t, e);
    state.partial(i) = sum;
  }
};

/// d1 = (1 / E) / (sum_t d0 C + epsilon)
template <class StateT>
struct SinkhornExperts {
  StateT state;
  std::int64_t blocks;
  int num_experts;

  KOKKOS_FUNCTION void operator()(std::int64_t e) const {
    using T = typename StateT::T;
    if (state.converged(0)) return;
    T sum = 0;
    for (std::int64_t block = 0; block < blocks; ++block) sum += state.partial(block * num_experts + e);
    const T value = 1 / T(num_experts) / (sum + T(sinkhorn_epsilon));
    state.change(e) = Kokkos::fabs(value - state.experts(e));
    state.experts(e) = value;
  }
};

template <class StateT>
struct SinkhornConverged {
  StateT state;
  typename StateT::T tolerance;
  int num_experts;

  KOKKOS_FUNCTION void operator()(std::int64_t) const {
    if (state.converged(0)) return;
    typename StateT::T sum = 0;
    for (int e = 0; e < num_experts; ++e) sum += state.change(e);
    state.converged(0) = sum / num_experts <= tolerance;
  }
};

/// The largest of the plan's row; of the scores where a token has none. d0 is the same for all experts of a token, and
/// orders nothing.
template <class RoutingT, class StateT, class SelectT>
struct SinkhornChoose {
  RoutingT routing;
  StateT state;
  int num_experts;
  [[no_unique_address]] SelectT select;

  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    using T = typename RoutingT::compute;
    T largest = 0;
    for (int e = 0; e < num_experts; ++e) largest = Kokkos::fmax(largest, state.kernel(t, e) *= state.experts(e));
    const T* const compared = largest > 0 ? &state.kernel(t, 0) : &routing.scores(t, 0);
    select(Candidates<T>{compared, nullptr, num_experts, &routing.logits(t, 0)}, &routing.ids(t, 0));
  }
};

}  // namespace detail

/// The k best experts of a token in the transport plan that gives every token the same and every expert the same, in
/// training; in inference the k best by the scores, each token for itself. The plan is d0 C d1 with C = exp(z), by
///
///     d0 = (1 / T) / (sum_e d1 C + 1e-8),   d1 = (1 / E) / (sum_t d0 C + 1e-8)
///
/// from d1 = 1, until the mean change of d1 is at most `tolerance` or after `iterations` of them: a device cannot ask the
/// host whether to go on. No gradient goes through the plan, and it takes no balancing loss. Padding and tokens with a
/// NaN or infinitely large logit are out of the plan. (S-BASE, Clark et al. 2022, arXiv 2202.01169; Megatron-LM's
/// `sinkhorn`, which iterates without bound and does not subtract the row's maximum first.)
template <int KV>
struct Sinkhorn {
  static_assert(KV == dynamic || KV > 0, "moe: Sinkhorn<K> needs K > 0, or moe::dynamic");
  static constexpr bool whole_batch = true;

  [[no_unique_address]] Size<KV> k{};
  int iterations = 30;      ///< at most
  double tolerance = 1e-4;  ///< Megatron-LM's

  template <class TypesT>
  using Workspace = detail::SinkhornState<TypesT>;
  template <class TypesT, class ArenaT>
  Workspace<TypesT> workspace(ArenaT& arena, const typename TypesT::shape& shape, int max_tokens, Use use) const {
    using T = typename TypesT::compute;
    const int experts = shape.experts;
    Workspace<TypesT> state;
    if (use == Use::inference) return state;
    state.kernel = arena.template matrix<T>(max_tokens, padded<T>(experts));
    state.tokens = arena.template vector<T>(max_tokens);
    state.experts = arena.template vector<T>(experts);
    state.change = arena.template vector<T>(experts);
    state.partial = arena.template vector<T>(detail::num_blocks(max_tokens) * experts);
    state.converged = arena.template vector<int>(1);
    return state;
  }

  template <class ShapeT>
  int slots(const ShapeT&) const {
    return k;
  }
  template <class ShapeT>
  void check(const ShapeT& shape) const {
    detail::expect_choice("moe::Sinkhorn", "k", k, shape);
    detail::expect_at_least("moe::Sinkhorn", "iterations", 1, iterations);
  }

  template <class TypesT, class TapeT>
  void choose(const Context<TypesT>& context, const Routing<TypesT>& routing, const TapeT&,
              const Workspace<TypesT>& state) const {
    using RoutingT = Routing<TypesT>;
    using StateT = Workspace<TypesT>;
    const std::string& label = detail::kernel_label<"moe::sinkhorn">;
    const int tokens = context.num_tokens, experts = context.shape.experts;
    const auto run = [&](std::int64_t count, const auto& functor) {
      detail::launch(context.exec, label, count, functor);
    };
    if constexpr (std::is_same_v<TapeT, NoTape>) {
      run(tokens, detail::SelectForToken<RoutingT, TopK<KV>, true>{routing, experts, nullptr, {k}});
    } else if (tokens > 0) {
      const std::int64_t blocks = detail::num_blocks(tokens);
      run(tokens, detail::SinkhornKernel<RoutingT, StateT>{routing, state, experts});
      run(experts, detail::SinkhornStart<StateT>{state});
      for (int i = 0; i < iterations; ++i) {
        run(tokens, detail::SinkhornTokens<RoutingT, StateT>{routing, state, experts});
        run(blocks * experts, detail::SinkhornBlocks<RoutingT, StateT>{routing, state, experts});
        run(experts, detail::SinkhornExperts<StateT>{state, blocks, experts});
        run(1, detail::SinkhornConverged<StateT>{state, typename TypesT::compute(tolerance), experts});
      }
      run(tokens, detail::SinkhornChoose<RoutingT, StateT, TopK<KV>>{routing, state, experts, {k}});
    }
  }
};

/// Sinkhorn routing as Megatron-LM has it: gate = sigmoid(z) for k = 1, else softmax(z), at the chosen.
template <int KV>
using SinkhornTopK = Router<LinearProjection<>, std::conditional_t<KV == 1, Sigmoid, Softmax>, Sinkhorn<KV>>;

}  // namespace moe
