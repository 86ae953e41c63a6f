#pragma once

#include <moe/core/error.hpp>
#include <moe/core/precision.hpp>
#include <moe/core/requirements.hpp>
#include <moe/core/shape.hpp>
#include <moe/core/trees.hpp>
#include <moe/core/types.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace moe {

/// The width inside an expert is the shape's.
struct IntermediateOfShape {};

namespace detail {

template <class ShapeT, class CountT, class IntermediateT>
struct ShapeOfKind;
template <int ExpertsV, int HiddenV, int IntermediateV, int CountV>
struct ShapeOfKind<Shape<ExpertsV, HiddenV, IntermediateV>, Size<CountV>, IntermediateOfShape> {
  using type = Shape<CountV, HiddenV, IntermediateV>;
};
template <int ExpertsV, int HiddenV, int IntermediateV, int CountV, int OwnV>
struct ShapeOfKind<Shape<ExpertsV, HiddenV, IntermediateV>, Size<CountV>, Size<OwnV>> {
  using type = Shape<CountV, HiddenV, OwnV>;
};

}  // namespace detail

/// Some experts of one kind, as part of a Mixed: made by `of`.
template <class ExpertT, class CountT = Size<1>, class IntermediateT = IntermediateOfShape>
struct Kind {
  using expert_type = ExpertT;
  static constexpr bool is_static = CountT::is_static;
  static constexpr int static_count() { return CountT(); }

  [[no_unique_address]] ExpertT expert{};
  [[no_unique_address]] CountT count{};                ///< a Size
  [[no_unique_address]] IntermediateT intermediate{};  ///< a Size, or that of the shape

  Kind() = default;
  Kind(const ExpertT& expert_, CountT count_ = {}, IntermediateT intermediate_ = {})  // NOLINT: one SwiGlu{}
      : expert(expert_), count(count_), intermediate(intermediate_) {}

  /// The sizes that such experts see.
  template <class ShapeT>
  auto shape_of(const ShapeT& shape) const {
    using ResultT = typename detail::ShapeOfKind<ShapeT, CountT, IntermediateT>::type;
    if constexpr (std::is_same_v<IntermediateT, IntermediateOfShape>) {
      return ResultT{count, shape.hidden, shape.intermediate};
    } else {
      return ResultT{count, shape.hidden, intermediate};
    }
  }
  template <class TypesT>
  using TypesOf =
      Types<typename TypesT::exec, typename detail::ShapeOfKind<typename TypesT::shape, CountT, IntermediateT>::type,
            typename TypesT::precision, typename TypesT::engine>;
};

/// So many experts of a kind: `of<60>(SwiGlu{})`, of a width of their own `of<60>(SwiGlu{}, 256)` or, static,
/// `of<60>(SwiGlu{}, Size<256>{})`.
template <int CountV, class ExpertT>
Kind<ExpertT, Size<CountV>> of(const ExpertT& expert) {
  return {expert};
}
template <int CountV, class ExpertT, int IntermediateV>
Kind<ExpertT, Size<CountV>, Size<IntermediateV>> of(const ExpertT& expert, Size<IntermediateV> intermediate) {
  return {expert, {}, intermediate};
}
template <int CountV, class ExpertT>
Kind<ExpertT, Size<CountV>, Size<dynamic>> of(const ExpertT& expert, int intermediate) {
  return {expert, {}, intermediate};
}
/// The same for a number that is known at run time: `of(60, SwiGlu{})`.
template <class ExpertT>
Kind<ExpertT, Size<dynamic>> of(int count, const ExpertT& expert) {
  return {expert, count};
}
template <class ExpertT>
Kind<ExpertT, Size<dynamic>, Size<dynamic>> of(int count, const ExpertT& expert, int intermediate) {
  return {expert, count, intermediate};
}

namespace detail {

template <class T>
struct AsKind {
  using type = Kind<T>;
};
template <class ExpertT, class CountT, class IntermediateT>
struct AsKind<Kind<ExpertT, CountT, IntermediateT>> {
  using type = Kind<ExpertT, CountT, IntermediateT>;
};

}  // namespace detail

/// Experts of several kinds, each with a range of the ids in the order given. (MoE++, Jin et al. 2024; HMoE, Wang et al.
/// 2024, with its experts of several widths.)
///
///     moe::Mixed{moe::of<60>(moe::SwiGlu{}), moe::Null{}, moe::Copy{}, moe::of<2>(moe::Constant{})}
///
/// An expert without a number is one. The tensors of the first kind are called "0.gate_up" and so on. All kinds are
/// launched one after the other, each on its range of the rows; they share one workspace.
template <class... KindsT>
class Mixed {
  static constexpr std::size_t size = sizeof...(KindsT);
  static_assert(size > 0, "moe: Mixed needs at least one kind of experts: moe::Mixed{moe::of<8>(moe::SwiGlu{})}");
  template <std::size_t I>
  using KindAt = std::tuple_element_t<I, std::tuple<KindsT...>>;

 public:
  template <class TypesT>
  using Parameters =
      Trees<typename KindsT::expert_type::template Parameters<typename KindsT::template TypesOf<TypesT>>...>;
  template <class TypesT>
  struct Tape {
    std::tuple<typename KindsT::expert_type::template Tape<typename KindsT::template TypesOf<TypesT>>...> kinds;
  };
  template <class TypesT>
  struct Workspace {
    std::tuple<typename KindsT::expert_type::template Workspace<typename KindsT::template TypesOf<TypesT>>...> kinds;
  };

  Mixed() = default;
  explicit Mixed(const KindsT&... kinds) : kinds_(kinds...) {}

  template <std::size_t I>
  const auto& expert() const {
    return std::get<I>(kinds_).expert;
  }
  /// The id of the first expert of kind I.
  template <std::size_t I>
  int first() const {
    return [&]<std::size_t... J>(std::index_sequence<J...>) { return (0 + ... + int(std::get<J>(kinds_).count)); }
    (std::make_index_sequence<I>());
  }

  /// \throws Error if the kinds are not as many experts as the shape has.
  template <class ShapeT>
  void check(const ShapeT& shape) const {
    if constexpr ((std::decay_t<decltype(shape.experts)>::is_static && ... && KindsT::is_static)) {
      static_assert(std::decay_t<decltype(shape.experts)>() == (0 + ... + KindsT::static_count()),
                    "moe: the kinds of a Mixed must be as many experts as its Shape has");
    }
    detail::expect_extent("moe::Mixed", "experts of all kinds (experts of the shape)", shape.experts, first<size>());
    each([&]<std::size_t I>() {
      const auto& kind = std::get<I>(kinds_);
      detail::expect_at_least("moe::Mixed", "experts of a kind", 1, kind.count);
      detail::expect_at_least("moe::Mixed", "intermediate of a kind", 1, kind.shape_of(shape).intermediate);
      if constexpr (requires { kind.expert.check(kind.shape_of(shape)); }) kind.expert.check(kind.shape_of(shape));
    });
  }

  template <class TypesT, class MakerT>
  Parameters<TypesT> parameters(const MakerT& maker, const typename TypesT::shape& shape) const {
    static_assert(
        (detail::expert_is_complete<typename KindsT::expert_type, typename KindsT::template TypesOf<TypesT>>() && ...));
    check(shape);
    return collect<Parameters<TypesT>>([&]<std::size_t I>() {
      const auto& kind = std::get<I>(kinds_);
      return kind.expert.template parameters<TypesAt<I, TypesT>>(maker.in(std::to_string(I)), kind.shape_of(shape));
    });
  }
  template <class TypesT, class ArenaT>
  Tape<TypesT> tape(ArenaT& arena, const typename TypesT::shape& shape, int max_rows) const {
    return collect<Tape<TypesT>>([&]<std::size_t I>() {
      const auto& kind = std::get<I>(kinds_);
      return kind.expert.template tape<TypesAt<I, TypesT>>(arena, kind.shape_of(shape), max_rows);
    });
  }
  template <class TypesT, class ArenaT>
  Workspace<TypesT> workspace(ArenaT& arena, const typename TypesT::shape& shape, int max_rows, Use use) const {
    std::size_t most = 0;
    const auto result = collect<Workspace<TypesT>>([&]<std::size_t I>() {
      const auto& kind = std::get<I>(kinds_);
      ArenaT from_here = arena;  // each kind cuts from the same place
      auto own = kind.expert.template workspace<TypesAt<I, TypesT>>(from_here, kind.shape_of(shape), max_rows, use);
      most = std::max(most, from_here.bytes() - arena.bytes());
      return own;
    });
    arena.template take<std::byte>(std::int64_t(most));
    return result;
  }
  template <class ShapeT>
  EngineLimits limits(const ShapeT& shape, int max_rows) const {
    EngineLimits limits;
    each([&]<std::size_t I>() {
      const auto& kind = std::get<I>(kinds_);
      limits = limits.max(kind.expert.limits(kind.shape_of(shape), max_rows));
    });
    return limits;
  }

  template <class TypesT, class SourceT, class RowsT, class TapeT>
  void forward(const Context<TypesT>& context, const Parameters<TypesT>& p, const Segments& segments, const SourceT& x,
               const RowsT& rows, const TapeT& tape, const Workspace<TypesT>& workspace) const {
    each([&]<std::size_t I>() {
      const auto run = [&](const auto& own_tape) {
        expert<I>().forward(context_of<I>(context), std::get<I>(p.parts), range<I>(segments), x, rows, own_tape,
                            std::get<I>(workspace.kinds));
      };
      if constexpr (std::is_same_v<TapeT, NoTape>) {
        run(tape);
      } else {
        run(std::get<I>(tape.kinds));
      }
    });
  }

  template <class TypesT, class SourceT, class DeltaT, class GatesT, class RowsT, class GradientsT>
  void backward(const Context<TypesT>& context, const Parameters<TypesT>& p, const Tape<TypesT>& tape,
                const Segments& segments, const SourceT& x, const DeltaT& dy, const GatesT& d_gate_rows,
                const RowsT& d_rows, const GradientsT& g, const Backward& options,
                const Workspace<TypesT>& workspace) const {
    each([&]<std::size_t I>() {
      expert<I>().backward(context_of<I>(context), std::get<I>(p.parts), std::get<I>(tape.kinds), range<I>(segments), x,
                           dy, d_gate_rows, d_rows, std::get<I>(g.parts), options, std::get<I>(workspace.kinds));
    });
  }

 private:
  template <std::size_t I, class TypesT>
  using TypesAt = typename KindAt<I>::template TypesOf<TypesT>;

  template <std::size_t I, class TypesT>
  Context<TypesAt<I, TypesT>> context_of(const Context<TypesT>& context) const {
    return {context.exec, std::get<I>(kinds_).shape_of(context.shape), context.engine, context.num_tokens};
  }
  /// The rows of kind I.
  template <std::size_t I>
  Segments range(const Segments& segments) const {
    return {segments.offsets + first<I>(), std::get<I>(kinds_).count, segments.max_rows};
  }

  /// f.operator()<0>(), f.operator()<1>(), ...
  template <class F>
  static void each(F&& f) {
    [&]<std::size_t... I>(std::index_sequence<I...>) { (f.template operator()<I>(), ...); }
    (std::make_index_sequence<size>());
  }
  /// A ResultT of one tuple, of what f makes for each kind, in order.
  template <class ResultT, class F>
  static ResultT collect(F&& f) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) { return ResultT{{f.template operator()<I>()...}}; }
    (std::make_index_sequence<size>());
  }

  std::tuple<KindsT...> kinds_;
};

template <class... T>
Mixed(const T&...) -> Mixed<typename detail::AsKind<T>::type...>;

}  // namespace moe
