#pragma once

#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

namespace moe {

/// \file
/// What travels with x: `layer.forward(exec, p, moe::inputs(x, moe::TokenIds{ids}, moe::Step{n}), y, workspace)`. A
/// policy asks for what it needs by type, `side<TokenIds>(inputs)`; leaving that out is a sentence at compile time.

/// One integer for each token that says which token it is, [tokens].
template <class ViewT>
struct TokenIds {
  ViewT view;
};
template <class ViewT>
TokenIds(ViewT) -> TokenIds<ViewT>;

/// The number of the training step, for schedules and random numbers.
template <class T = std::uint64_t>
struct Step {
  T value = 0;
};
template <class T>
Step(T) -> Step<T>;

/// Not zero for a real token, 0 for padding, [tokens]; of any type that converts to bool. Padding gets no expert of a
/// mixture, whose y is 0 (not that of a shared expert), and has no part in losses, statistics and gradients. Its x may be any finite numbers.
template <class ViewT>
struct Padding {
  ViewT view;
};
template <class ViewT>
Padding(ViewT) -> Padding<ViewT>;

/// A routing to be used again, [tokens, slots]: the experts of each token, -1 for an empty slot. The router takes them as
/// its choice; gates and their gradients come from the logits of this run. So a trainer and a server agree on the
/// experts, another precision or engine too. (Megatron-LM's router replay.)
template <class ViewT>
struct Replay {
  ViewT view;
};
template <class ViewT>
Replay(ViewT) -> Replay<ViewT>;

/// x and its side inputs.
template <class ViewT, class... SidesT>
struct Inputs {
  ViewT x;
  std::tuple<SidesT...> sides;
};

template <class ViewT, class... SidesT>
Inputs<ViewT, SidesT...> inputs(const ViewT& x, const SidesT&... sides) {
  return {x, {sides...}};
}

namespace detail {

template <template <class> class SideT, class T>
inline constexpr bool is_side_v = false;
template <template <class> class SideT, class T>
inline constexpr bool is_side_v<SideT, SideT<T>> = true;

template <class T>
inline constexpr bool is_inputs_v = false;
template <class ViewT, class... SidesT>
inline constexpr bool is_inputs_v<Inputs<ViewT, SidesT...>> = true;

/// A bare View is the set that holds only x.
template <class T>
auto as_inputs(const T& x) {
  if constexpr (is_inputs_v<T>) {
    return x;
  } else {
    return inputs(x);
  }
}

/// Whether a policy says `static constexpr bool needs_sides = true`: that it cannot do with x alone.
template <class PolicyT>
concept NeedsSides = PolicyT::needs_sides;

/// The same side inputs around another x.
template <class ViewT, class OtherT, class... SidesT>
Inputs<ViewT, SidesT...> with_x(const ViewT& x, const Inputs<OtherT, SidesT...>& in) {
  return {x, in.sides};
}

}  // namespace detail

/// Whether the user passed this side input.
template <template <class> class SideT, class InputsT>
inline constexpr bool has_side_v = false;
template <template <class> class SideT, class InputsT>
inline constexpr bool has_side_v<SideT, const InputsT> = has_side_v<SideT, InputsT>;
template <template <class> class SideT, class ViewT, class... SidesT>
inline constexpr bool has_side_v<SideT, Inputs<ViewT, SidesT...>> = (detail::is_side_v<SideT, SidesT> || ...);

/// The side input of that type.
template <template <class> class SideT, class ViewT, class... SidesT>
auto side(const Inputs<ViewT, SidesT...>& in) {
  constexpr bool given = has_side_v<SideT, Inputs<ViewT, SidesT...>>;
  static_assert(given,
                "moe: a policy of this layer needs a side input that was not passed; write "
                "moe::inputs(x, moe::TokenIds{ids}), moe::inputs(x, moe::Step{n}) or "
                "moe::inputs(x, moe::Padding{mask})");
  if constexpr (given) {
    constexpr std::size_t position = [] {
      const bool found[] = {detail::is_side_v<SideT, SidesT>...};
      std::size_t i = 0;
      while (!found[i]) ++i;
      return i;
    }();
    return std::get<position>(in.sides);
  }
}

}  // namespace moe
