#pragma once

#include <moe/core/kernel.hpp>
#include <moe/layer/block.hpp>

#include <cstdint>
#include <string>

namespace moe {
namespace detail {

template <class FromT, class ToT>
struct AddMatrix {
  using T = typename ToT::non_const_value_type;
  static constexpr int chunk = 64;

  FromT from;
  ToT to;
  int chunks;
  KOKKOS_FUNCTION void operator()(std::int64_t i) const {
    // A row's items are chunks of it: a division for each element would cost more than the addition.
    const int t = int(i / chunks), first = int(i % chunks) * chunk;
    const int end = Kokkos::min(first + chunk, int(to.extent(1)));
    const auto* const x = &from(t, 0);
    auto* const y = &to(t, 0);
    for (int c = first; c < end; ++c) y[c] = T(y[c] + x[c]);
  }
};

/// to += from
template <class ExecT, class FromT, class ToT>
void add_matrix(const ExecT& exec, const FromT& from, const ToT& to) {
  const std::string& label = kernel_label<"moe::residual::add">;
  constexpr int chunk = AddMatrix<FromT, ToT>::chunk;
  const int chunks = (int(to.extent(1)) + chunk - 1) / chunk;
  launch(exec, label, std::int64_t(to.extent(0)) * chunks, AddMatrix<FromT, ToT>{from, to, chunks});
}

}  // namespace detail

/// y = x + block(x)
template <class BlockT>
class Residual : public Block<Residual<BlockT>> {
 public:
  using storage = typename BlockT::storage;
  static constexpr int num_mixtures = detail::num_mixtures<BlockT>();

  template <class ExecT>
  using Parameters = typename BlockT::template Parameters<ExecT>;
  template <class ExecT>
  using Gradients = typename BlockT::template Gradients<ExecT>;
  template <class ExecT>
  using Tape = typename BlockT::template Tape<ExecT>;
  template <class ExecT>
  using Workspace = typename BlockT::template Workspace<ExecT>;

  explicit Residual(const BlockT& inner) : inner_(inner) {}

  const BlockT& inner() const { return inner_; }
  int hidden() const { return inner_.hidden(); }
  /// The same, whose experts' matrices are stored as WeightT; see moe::quantised.
  template <class WeightT, class RowT = ExactRows>
  auto with_weights() const {
    return moe::Residual{detail::with_weights<WeightT, RowT>(inner_)};
  }

  template <class ExecT, class ParametersT, class XT, class YT, class... KeptT>
  void forward(const ExecT& exec, const ParametersT& p, const XT& x, const YT& y, KeptT&... tape_and_workspace) const {
    detail::expect_apart("moe::Residual::forward, y", detail::as_inputs(x).x, y);
    inner_.forward(exec, p, x, y, tape_and_workspace...);
    detail::add_matrix(exec, detail::as_inputs(x).x, y);
  }

  template <class ExecT, class ParametersT, class TapeT, class DyT, class DxT, class GradientsT, class WorkspaceT>
  void backward(const ExecT& exec, const ParametersT& p, const TapeT& tape, const DyT& dy, const DxT& dx,
                const GradientsT& g, WorkspaceT& workspace, const Backward& options = {}) const {
    detail::expect_apart("moe::Residual::backward, dx", dy, dx);
    inner_.backward(exec, p, tape, dy, dx, g, workspace, options);
    detail::add_matrix(exec, dy, dx);
  }

  template <class ExecT, class ParametersT, class TapeT>
  void update(const ExecT& exec, const ParametersT& p, TapeT& tape) const {
    inner_.update(exec, p, tape);
  }
  template <class TapeT, class F>
  void visit(TapeT& tape, F&& f) const {
    inner_.visit(tape, f);
  }

  template <class MakerT>
  auto make_parameters(const MakerT& maker) const {
    return inner_.make_parameters(maker);
  }
  template <class ExecT, class ArenaT>
  auto make_tape(const ExecT& exec, ArenaT& arena, int max_tokens) const {
    return inner_.make_tape(exec, arena, max_tokens);
  }
  template <class ExecT, class ArenaT>
  auto make_workspace(const ExecT& exec, ArenaT& arena, int max_tokens, Use use) const {
    return inner_.make_workspace(exec, arena, max_tokens, use);
  }

 private:
  BlockT inner_;
};

// Without this guide Residual{Residual{block}} would be a copy of the inner one.
template <class BlockT>
Residual(const BlockT&) -> Residual<BlockT>;

}  // namespace moe
