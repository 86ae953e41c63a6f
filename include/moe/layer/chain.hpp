#pragma once

#include <moe/core/trees.hpp>
#include <moe/core/view.hpp>
#include <moe/layer/block.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace moe {

/// Blocks one after the other, y = last(... first(x)). Tensors are named by position: "0.router.weight".
template <class... BlocksT>
class Chain : public Block<Chain<BlocksT...>> {
  static_assert(sizeof...(BlocksT) > 0, "moe: a Chain needs at least one block");

  static constexpr std::size_t size = sizeof...(BlocksT);
  template <std::size_t I>
  using BlockAt = std::tuple_element_t<I, std::tuple<BlocksT...>>;

  template <class MakerT>
  using Made = Trees<decltype(std::declval<BlocksT>().make_parameters(std::declval<MakerT>()))...>;

 public:
  using storage = typename BlockAt<0>::storage;
  static constexpr int num_mixtures = (0 + ... + detail::num_mixtures<BlocksT>());
  static_assert((std::is_same_v<storage, typename BlocksT::storage> && ...),
                "moe: all blocks of a Chain must have the same storage type; give each the same Precision");

  template <class ExecT>
  using Parameters = Trees<typename BlocksT::template Parameters<ExecT>...>;
  template <class ExecT>
  using Gradients = Trees<typename BlocksT::template Gradients<ExecT>...>;

  /// What a chain keeps for up to max_tokens tokens: its blocks' tapes or workspaces and a buffer between each two.
  template <class ContentsT, class MemoryT>
  struct Links {
    ContentsT blocks;
    std::array<Matrix<storage, MemoryT>, size - 1> between{};  ///< results; in the workspace, gradients in backward
    int max_tokens = 0;
  };
  template <class ExecT>
  using Tape = Links<std::tuple<typename BlocksT::template Tape<ExecT>...>, typename ExecT::memory_space>;
  template <class ExecT>
  using Workspace = Links<std::tuple<typename BlocksT::template Workspace<ExecT>...>, typename ExecT::memory_space>;

  /// \throws Error if the blocks have not all the same width, in and out.
  explicit Chain(const BlocksT&... blocks) : blocks_(blocks...) {
    detail::expect_at_least("moe::Chain", "hidden of the first block (in = out)", 1, hidden());
    (detail::expect_extent("moe::Chain", "hidden of every block", hidden(), blocks.hidden()), ...);
  }

  int hidden() const { return std::get<0>(blocks_).hidden(); }
  template <std::size_t I>
  const BlockAt<I>& block() const {
    return std::get<I>(blocks_);
  }
  /// The same chain, whose experts' matrices are stored as WeightT; see moe::quantised.
  template <class WeightT, class RowT = ExactRows>
  auto with_weights() const {
    return std::apply([](const auto&... blocks) { return moe::Chain{detail::with_weights<WeightT, RowT>(blocks)...}; },
                      blocks_);
  }

  template <class ExecT, class XT, class YT, class WorkspaceT>
  void forward(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const YT& y, WorkspaceT& workspace) const {
    const auto in = inputs_of<ExecT>(x, workspace.max_tokens);
    detail::expect_apart("moe::Chain::forward, y", in.x, y);
    const auto buffers = [&](std::size_t i) { return detail::first_rows(workspace.between[i], rows(in.x)); };
    each([&]<std::size_t I>() {
      std::get<I>(blocks_).forward(exec, std::get<I>(p.parts), input<I>(in, buffers), output<I>(y, buffers),
                                   std::get<I>(workspace.blocks));
    });
  }

  template <class ExecT, class XT, class YT, class TapeT, class WorkspaceT>
  void forward(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const YT& y, TapeT& tape,
               WorkspaceT& workspace) const {
    const auto in = inputs_of<ExecT>(x, std::min(tape.max_tokens, workspace.max_tokens));
    detail::expect_apart("moe::Chain::forward, y", in.x, y);
    const auto buffers = [&](std::size_t i) { return detail::first_rows(tape.between[i], rows(in.x)); };
    each([&]<std::size_t I>() {
      std::get<I>(blocks_).forward(exec, std::get<I>(p.parts), input<I>(in, buffers), output<I>(y, buffers),
                                   std::get<I>(tape.blocks), std::get<I>(workspace.blocks));
    });
  }

  template <class ExecT, class TapeT, class DyT, class DxT, class WorkspaceT>
  void backward(const ExecT& exec, const Parameters<ExecT>& p, const TapeT& tape, const DyT& dy, const DxT& dx,
                const Gradients<ExecT>& g, WorkspaceT& workspace, const Backward& options = {}) const {
    detail::expect_apart("moe::Chain::backward, dx", dy, dx);
    const auto buffers = [&](std::size_t i) { return detail::first_rows(workspace.between[i], rows(dy)); };
    each([&]<std::size_t FromLast>() {
      constexpr std::size_t I = size - 1 - FromLast;
      std::get<I>(blocks_).backward(exec, std::get<I>(p.parts), std::get<I>(tape.blocks), output<I>(dy, buffers),
                                    link<I>(dx, buffers), std::get<I>(g.parts), std::get<I>(workspace.blocks), options);
    });
  }

  template <class ExecT, class TapeT>
  void update(const ExecT& exec, const Parameters<ExecT>& p, TapeT& tape) const {
    each([&]<std::size_t I>() { std::get<I>(blocks_).update(exec, std::get<I>(p.parts), std::get<I>(tape.blocks)); });
  }
  template <class TapeT, class F>
  void visit(TapeT& tape, F&& f) const {
    each([&]<std::size_t I>() { std::get<I>(blocks_).visit(std::get<I>(tape.blocks), f); });
  }

  template <class MakerT>
  auto make_parameters(const MakerT& maker) const {
    return collect<Made<MakerT>>(
        [&]<std::size_t I>() { return std::get<I>(blocks_).make_parameters(maker.in(std::to_string(I))); });
  }
  template <class ExecT, class ArenaT>
  Tape<ExecT> make_tape(const ExecT& exec, ArenaT& arena, int max_tokens) const {
    auto tape =
        collect<Tape<ExecT>>([&]<std::size_t I>() { return std::get<I>(blocks_).make_tape(exec, arena, max_tokens); });
    cut_links(tape, arena, max_tokens);
    return tape;
  }
  template <class ExecT, class ArenaT>
  Workspace<ExecT> make_workspace(const ExecT& exec, ArenaT& arena, int max_tokens, Use use) const {
    auto workspace = collect<Workspace<ExecT>>(
        [&]<std::size_t I>() { return std::get<I>(blocks_).make_workspace(exec, arena, max_tokens, use); });
    cut_links(workspace, arena, max_tokens);
    return workspace;
  }

 private:
  template <class ViewT>
  static int rows(const ViewT& view) {
    return int(view.extent(0));
  }
  template <class ExecT, class XT>
  auto inputs_of(const XT& x, int max_tokens) const {
    static_assert(
        num_mixtures <= 1 || !has_side_v<Replay, decltype(detail::as_inputs(x))>,
        "moe: a Chain of several mixtures would take the same moe::Replay in each of them; call its blocks one "
        "after the other, each with the routing recorded of it");
    return detail::checked_inputs<storage, typename ExecT::memory_space>("moe::Chain::forward", x, hidden(),
                                                                         max_tokens);
  }

  /// f.operator()<0>(), f.operator()<1>(), ...
  template <class F>
  static void each(F&& f) {
    [&]<std::size_t... I>(std::index_sequence<I...>) { (f.template operator()<I>(), ...); }
    (std::make_index_sequence<size>());
  }
  /// A ResultT whose `blocks` are what f makes for each block, in order.
  template <class ResultT, class F>
  static ResultT collect(F&& f) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return ResultT{{f.template operator()<I>()...}};  // braces: left to right, so that an arena is cut in order
    }
    (std::make_index_sequence<size>());
  }

  /// The input of block I: the chain's, or the buffer before it with the same side inputs.
  template <std::size_t I, class InputsT, class BuffersT>
  static auto input(const InputsT& in, const BuffersT& buffers) {
    if constexpr (I == 0) {
      return in;
    } else {
      const auto buffer = buffers(I - 1);
      return detail::with_x(decltype(in.x)(buffer), in);
    }
  }
  /// The output of block I: the chain's, or the buffer after it.
  template <std::size_t I, class ViewT, class BuffersT>
  static auto output(const ViewT& y, const BuffersT& buffers) {
    if constexpr (I == size - 1) {
      return y;
    } else {
      return buffers(I);
    }
  }
  /// The gradient of block I's input: the chain's, or the buffer before it.
  template <std::size_t I, class ViewT, class BuffersT>
  static auto link(const ViewT& dx, const BuffersT& buffers) {
    if constexpr (I == 0) {
      return dx;
    } else {
      return buffers(I - 1);
    }
  }

  template <class LinksT, class ArenaT>
  void cut_links(LinksT& links, ArenaT& arena, int max_tokens) const {
    for (auto& buffer : links.between) buffer = arena.template matrix<storage>(max_tokens, hidden());
    links.max_tokens = max_tokens;
  }

  std::tuple<BlocksT...> blocks_;
};

template <class... BlocksT>
Chain(const BlocksT&...) -> Chain<BlocksT...>;

}  // namespace moe
