#pragma once

#include <moe/core/kernel.hpp>
#include <moe/core/random.hpp>
#include <moe/core/routing.hpp>
#include <moe/router/router.hpp>
#include <moe/router/token_keys.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <string>
#include <type_traits>

namespace moe {
namespace detail {

/// The standard normal number of a token and an expert: the same in forward and backward, so that none is stored.
template <class T>
KOKKOS_FUNCTION T draw_noise(std::uint64_t key, int expert) {
  constexpr std::uint64_t stream = stream_of("moe::Noisy");
  return Random{key, stream}.normal<T>(expert);
}

/// logits and x W_noise become noisy logits, clean ones and sigma.
template <class RoutingT>
struct AddNoise {
  using T = typename RoutingT::compute;
  RoutingT routing;
  const std::uint64_t* keys;
  T least;
  int num_experts;

  KOKKOS_FUNCTION void operator()(std::int64_t i) const {
    const std::int64_t t = i / num_experts;
    const int e = int(i % num_experts);
    T& logit = routing.logits(t, e);
    T& scale = routing.noise.scale(t, e);
    routing.noise.clean(t, e) = logit;
    scale = softplus(scale) + least;
    logit += scale * draw_noise<T>(keys[t], e);
  }
};

/// d_scale becomes the gradient by x W_noise: (d_logit n + d_scale) sigmoid(x W_noise), where sigmoid(v) =
/// 1 - exp(-softplus(v)).
template <class RoutingT, class MatrixT>
struct AddNoiseBackward {
  using T = typename RoutingT::compute;
  RoutingT routing;
  MatrixT d_logits;
  const std::uint64_t* keys;
  T least;
  int num_experts;

  KOKKOS_FUNCTION void operator()(std::int64_t i) const {
    const std::int64_t t = i / num_experts;
    const int e = int(i % num_experts);
    T& d = routing.noise.d_scale(t, e);
    d = (d_logits(t, e) * draw_noise<T>(keys[t], e) + d) * -Kokkos::expm1(least - routing.noise.scale(t, e));
  }
};

}  // namespace detail

/// z = clean + n * sigma in training, z = clean in inference, with clean of another projection, n standard normal and
/// sigma = softplus(W_noise x) + epsilon. W_noise [experts, hidden] starts at 0. (Shazeer et al. 2017, arXiv 1701.06538;
/// tensor2tensor's noisy_top_k_gating, which has the epsilon.) Needs moe::Step in training; the numbers depend on seed,
/// step and token alone, see router/token_keys.hpp.
///
/// For balancers, routing.noise holds clean and sigma. One whose loss depends on clean itself, and not through z, adds
/// its gradient d to d_logits and takes d * n = d * (z - clean) / sigma from noise.d_scale, since d_logits counts as by z.
template <class ProjectionT = LinearProjection<>>
struct Noisy {
  [[no_unique_address]] ProjectionT projection{};
  double epsilon = 1e-2;  ///< the least sigma; tensor2tensor's
  std::uint64_t seed = 0;

  static constexpr bool needs_sides = true;
  static constexpr bool draws_noise = true;
  static constexpr bool masks_experts = detail::MasksExperts<ProjectionT>;

  using Map = detail::DenseMap<NoBias>;
  template <class TypesT>
  struct Parameters : ProjectionT::template Parameters<TypesT> {
    using Projection = typename ProjectionT::template Parameters<TypesT>;
    using Noise = typename Map::template Parameters<typename TypesT::compute, typename TypesT::memory,
                                                    typename TypesT::engine::Layout>;
    Noise noise;  ///< W_noise, "noise.weight"

    template <class F, class... TreesT>
    static void for_each(F&& f, TreesT&... trees) {
      Projection::for_each(f, trees...);
      Noise::for_each(f, trees.noise...);
    }
  };
  template <class TypesT>
  struct Tape {
    Vector<std::uint64_t, typename TypesT::memory> keys;  ///< [tokens]
    [[no_unique_address]] typename ProjectionT::template Tape<TypesT> projection;
  };
  template <class TypesT>
  using Workspace = typename ProjectionT::template Workspace<TypesT>;

  template <class ShapeT>
  void check(const ShapeT& shape) const {
    if constexpr (requires { projection.check(shape); }) projection.check(shape);
  }
  template <class ShapeT>
  EngineLimits limits(const ShapeT& shape, int max_tokens) const {
    return projection.limits(shape, max_tokens).max(Map::limits(max_tokens, shape.experts, shape.hidden));
  }
  template <class TypesT, class MakerT>
  Parameters<TypesT> parameters(const MakerT& maker, const typename TypesT::shape& shape) const {
    return {projection.template parameters<TypesT>(maker, shape),
            Map::template parameters<typename TypesT::compute, typename TypesT::engine::Layout>(
                maker.in("noise"), shape.experts, shape.hidden, Zeros{})};
  }
  template <class TypesT, class ArenaT>
  Tape<TypesT> tape(ArenaT& arena, const typename TypesT::shape& shape, int max_tokens) const {
    Tape<TypesT> tape;
    tape.keys = arena.template vector<std::uint64_t>(max_tokens);
    tape.projection = projection.template tape<TypesT>(arena, shape, max_tokens);
    return tape;
  }
  template <class TypesT, class ArenaT>
  Workspace<TypesT> workspace(ArenaT& arena, const typename TypesT::shape& shape, int max_tokens, Use use) const {
    return detail::workspace_of<TypesT>(projection, arena, shape, max_tokens, use);
  }

  template <class TypesT, class InputsT, class TapeT>
  void forward(const Context<TypesT>& context, const Parameters<TypesT>& p, const InputsT& in,
               const Routing<TypesT>& routing, const TapeT& tape, const Workspace<TypesT>& workspace) const {
    if constexpr (std::is_same_v<TapeT, NoTape>) {
      projection.forward(context, p, in, routing, tape, workspace);
    } else {
      using T = typename TypesT::compute;
      const std::string& label = detail::kernel_label<"moe::noisy">;
      const int experts = context.shape.experts;
      projection.forward(context, p, in, routing, tape.projection, workspace);
      Map::forward(context.exec, context.engine, p.noise, context.num_tokens, detail::token_rows<TypesT>(in.x),
                   detail::OutputRows<T>{routing.noise.scale.data(), std::int64_t(routing.noise.scale.stride(0))});
      detail::note_token_keys(context, in, seed, tape.keys.data());
      detail::launch(context.exec, label, std::int64_t(context.num_tokens) * experts,
                     detail::AddNoise<Routing<TypesT>>{routing, tape.keys.data(), T(epsilon), experts});
    }
  }

  /// Overwrites noise.d_scale.
  template <class TypesT, class InputsT, class TapeT, class MatrixT, class DxT>
  void backward(const Context<TypesT>& context, const Parameters<TypesT>& p, const InputsT& in,
                const Routing<TypesT>& routing, const TapeT& tape, const MatrixT& d_logits, const DxT& dx,
                const Parameters<typename TypesT::gradients>& g, const Backward& options,
                const Workspace<TypesT>& workspace) const {
    using T = typename TypesT::compute;
    const std::string& label = detail::kernel_label<"moe::noisy::backward">;
    const int experts = context.shape.experts;
    detail::launch(
        context.exec, label, std::int64_t(context.num_tokens) * experts,
        detail::AddNoiseBackward<Routing<TypesT>, MatrixT>{routing, d_logits, tape.keys.data(), T(epsilon), experts});
    projection.backward(context, p, in, routing, tape.projection, d_logits, dx, g, options, workspace);
    const RowSource<T> delta{.data = routing.noise.d_scale.data(),
                             .stride = std::int64_t(routing.noise.d_scale.stride(0))};
    Map::backward_parameters(context.exec, context.engine, g.noise, context.num_tokens, delta,
                             detail::token_rows<TypesT>(in.x), Nothing{}, options.accumulate);
    Map::backward_rows(context.exec, context.engine, p.noise, context.num_tokens, delta, detail::add_to_rows(dx));
  }
};

/// Noisy top-k gating (Shazeer et al. 2017): the k largest noisy logits, softmax over them. There W starts at 0 too:
/// `NoisyTopK<4>{.projection = {.projection = {.stddev = 0}}}`.
template <int KV>
using NoisyTopK = TopKSoftmax<KV, Noisy<>>;

}  // namespace moe
