#pragma once

#include <moe/core/error.hpp>
#include <moe/core/inputs.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/random.hpp>
#include <moe/core/routing.hpp>
#include <moe/router/linear_projection.hpp>
#include <moe/router/projection.hpp>
#include <moe/router/token_keys.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <string>
#include <type_traits>

namespace moe {
namespace detail {

/// The factors of four neighbouring columns of a token, uniform in [1 - epsilon, 1 + epsilon): the same in forward and
/// backward, so that none is stored.
template <class T>
struct JitterFactors {
  static constexpr int columns = 4;  ///< that one draw is good for

  T epsilon;
  KOKKOS_FUNCTION void operator()(std::uint64_t key, int group, T* factors) const {
    constexpr std::uint64_t stream = stream_of("moe::Jitter");
    const Random::Block block = Random{key, stream}.bits(group);
    for (int i = 0; i < columns; ++i) {
      factors[i] = 1 + epsilon * (2 * (T(block.word[i] >> 8) * T(0x1p-24)) - 1);
    }
  }
};

/// to = from times the factors, or to += that.
template <class T, class FromT, class ToT>
struct JitterRows {
  JitterFactors<T> draw;
  const std::uint64_t* keys;
  FromT from;
  ToT to;
  int groups;
  bool add;

  KOKKOS_FUNCTION void operator()(std::int64_t i) const {
    using Element = typename ToT::non_const_value_type;
    const std::int64_t t = i / groups;
    const int group = int(i % groups), first = group * draw.columns;
    const int end = Kokkos::min(first + draw.columns, int(to.extent(1)));
    T factors[JitterFactors<T>::columns];
    draw(keys[t], group, factors);
    for (int c = first; c < end; ++c) {
      const T value = factors[c - first] * T(from(t, c));
      to(t, c) = Element(add ? T(to(t, c)) + value : value);
    }
  }
};

template <class MatrixT>
struct ClearGradient {
  MatrixT rows;
  KOKKOS_FUNCTION void operator()(std::int64_t i) const { rows.data()[i] = 0; }
};

}  // namespace detail

/// What the projection sees is x * u, elementwise, with u uniform in [1 - epsilon, 1 + epsilon), in training only; the
/// experts get x. (Switch Transformer, Fedus et al. 2021, arXiv 2101.03961; Megatron-LM's moe_input_jitter_eps.) Needs
/// moe::Step in training; the numbers depend on seed, step and token alone, see router/token_keys.hpp.
template <class ProjectionT = LinearProjection<>>
struct Jitter {
  [[no_unique_address]] ProjectionT projection{};
  double epsilon = 1e-2;  ///< the paper's
  std::uint64_t seed = 0;

  static constexpr bool needs_sides = true;
  static constexpr bool draws_noise = detail::DrawsNoise<ProjectionT>;
  static constexpr bool masks_experts = detail::MasksExperts<ProjectionT>;

  template <class TypesT>
  using Parameters = typename ProjectionT::template Parameters<TypesT>;
  template <class TypesT>
  struct Tape {
    Vector<std::uint64_t, typename TypesT::memory> keys;  ///< [tokens]
    [[no_unique_address]] typename ProjectionT::template Tape<TypesT> projection;
  };
  template <class TypesT>
  struct Workspace {
    using MatrixT = Matrix<typename TypesT::compute, typename TypesT::memory>;
    MatrixT x;   ///< [tokens, hidden], as the projection sees it
    MatrixT dx;  ///< [tokens, hidden]
    typename ProjectionT::template Workspace<TypesT> projection;
  };

  template <class ShapeT>
  void check(const ShapeT& shape) const {
    detail::expect(epsilon >= 0 && epsilon < 1, "moe::Jitter", "expected 0 <= epsilon < 1");
    if constexpr (requires { projection.check(shape); }) projection.check(shape);
  }
  template <class ShapeT>
  EngineLimits limits(const ShapeT& shape, int max_tokens) const {
    return projection.limits(shape, max_tokens);
  }
  template <class TypesT, class MakerT>
  Parameters<TypesT> parameters(const MakerT& maker, const typename TypesT::shape& shape) const {
    return projection.template parameters<TypesT>(maker, shape);
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
    Workspace<TypesT> w;
    w.projection = detail::workspace_of<TypesT>(projection, arena, shape, max_tokens, use);
    if (use == Use::inference) return w;
    w.x = arena.template matrix<typename TypesT::compute>(max_tokens, shape.hidden);
    w.dx = arena.template matrix<typename TypesT::compute>(max_tokens, shape.hidden);
    return w;
  }

  template <class TypesT, class InputsT, class TapeT>
  void forward(const Context<TypesT>& context, const Parameters<TypesT>& p, const InputsT& in,
               const Routing<TypesT>& routing, const TapeT& tape, const Workspace<TypesT>& workspace) const {
    if constexpr (std::is_same_v<TapeT, NoTape>) {
      projection.forward(context, p, in, routing, tape, workspace.projection);
    } else {
      detail::note_token_keys(context, in, seed, tape.keys.data());
      projection.forward(context, p, detail::with_x(jittered(context, in.x, tape, workspace), in), routing,
                         tape.projection, workspace.projection);
    }
  }

  /// dx += u * what the projection gives for it.
  template <class TypesT, class InputsT, class TapeT, class MatrixT, class DxT>
  void backward(const Context<TypesT>& context, const Parameters<TypesT>& p, const InputsT& in,
                const Routing<TypesT>& routing, const TapeT& tape, const MatrixT& d_logits, const DxT& dx,
                const Parameters<typename TypesT::gradients>& g, const Backward& options,
                const Workspace<TypesT>& workspace) const {
    const std::string& label = detail::kernel_label<"moe::jitter::zero">;
    const auto d_seen = detail::first_rows(workspace.dx, context.num_tokens);
    detail::launch(context.exec, label, d_seen.size(), detail::ClearGradient<decltype(workspace.dx)>{d_seen});
    projection.backward(context, p, detail::with_x(jittered(context, in.x, tape, workspace), in), routing,
                        tape.projection, d_logits, d_seen, g, options, workspace.projection);
    multiply(context, tape, d_seen, dx, true);
  }

 private:
  /// x as the projection sees it, in the workspace.
  template <class TypesT, class ViewT, class TapeT>
  auto jittered(const Context<TypesT>& context, const ViewT& x, const TapeT& tape,
                const Workspace<TypesT>& workspace) const {
    const auto seen = detail::first_rows(workspace.x, context.num_tokens);
    multiply(context, tape, x, seen, false);
    return Matrix<const typename TypesT::compute, typename TypesT::memory>(seen);
  }

  template <class TypesT, class TapeT, class FromT, class ToT>
  void multiply(const Context<TypesT>& context, const TapeT& tape, const FromT& from, const ToT& to, bool add) const {
    using T = typename TypesT::compute;
    using Draw = detail::JitterFactors<T>;
    const std::string& label = detail::kernel_label<"moe::jitter">;
    const int groups = (int(to.extent(1)) + Draw::columns - 1) / Draw::columns;
    detail::launch(context.exec, label, std::int64_t(context.num_tokens) * groups,
                   detail::JitterRows<T, FromT, ToT>{Draw{T(epsilon)}, tape.keys.data(), from, to, groups, add});
  }
};

}  // namespace moe
