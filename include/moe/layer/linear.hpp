#pragma once

#include <moe/core/made_for.hpp>
#include <moe/core/precision.hpp>
#include <moe/core/shape.hpp>
#include <moe/core/view.hpp>
#include <moe/gemm/best_engine.hpp>
#include <moe/gemm/linear.hpp>
#include <moe/layer/block.hpp>

#include <cstdint>

namespace moe {

/// y = x W^T (+ b), from [tokens, in] to [tokens, out]: embeddings' projections and output heads. It has a block's
/// functions; it is one, and fits into a Chain, where in = out. W is uniform in +-1/sqrt(in), b starts at zero.
template <class BiasT = NoBias, class PrecisionT = Precision<>, class EngineT = BestEngine>
class Linear : public Block<Linear<BiasT, PrecisionT, EngineT>> {
 public:
  using storage = typename PrecisionT::storage;
  using compute = typename PrecisionT::compute;
  using Map = detail::DenseMap<BiasT>;

  template <class ExecT>
  using Engine = typename EngineT::template type<ExecT, compute>;
  template <class ExecT, class T>
  using Tensors = typename Map::template Parameters<T, typename ExecT::memory_space, typename Engine<ExecT>::Layout>;
  template <class ExecT>
  using Parameters = Tensors<ExecT, storage>;
  template <class ExecT>
  using Gradients = Tensors<ExecT, compute>;
  template <class ExecT>
  struct Tape {
    Matrix<const storage, typename ExecT::memory_space> x;  ///< the caller's: it must live until backward
    int max_tokens = 0;
    detail::MadeFor made_for{};
  };
  template <class ExecT>
  struct Workspace {
    Engine<ExecT> engine;
    detail::ColumnSum<compute> column_sum;
    int max_tokens = 0;
    detail::MadeFor made_for{};
  };

  /// \throws Error if a size is not positive.
  Linear(int in, int out, const BiasT& = {}, const PrecisionT& = {}, const EngineT& = {}) : in_(in), out_(out) {
    detail::expect_at_least("moe::Linear", "in", 1, in);
    detail::expect_at_least("moe::Linear", "out", 1, out);
  }

  int in() const { return in_; }
  int out() const { return out_; }
  int hidden() const { return in_ == out_ ? in_ : -1; }

  template <class ExecT, class XT, class YT, class WorkspaceT>
  void forward(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const YT& y, WorkspaceT& workspace) const {
    run(exec, p, inputs_of<ExecT>(x, workspace.max_tokens).x, y, workspace);
  }
  template <class ExecT, class XT, class YT, class TapeT, class WorkspaceT>
  void forward(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const YT& y, TapeT& tape,
               WorkspaceT& workspace) const {
    sizes().expect_mine("tape", tape.made_for);
    tape.x = inputs_of<ExecT>(x, std::min(tape.max_tokens, workspace.max_tokens)).x;
    run(exec, p, tape.x, y, workspace);
  }

  template <class ExecT, class TapeT, class DyT, class DxT, class WorkspaceT>
  void backward(const ExecT& exec, const Parameters<ExecT>& p, const TapeT& tape, const DyT& dy, const DxT& dx,
                const Gradients<ExecT>& g, WorkspaceT& workspace, const Backward& options = {}) const {
    using memory = typename ExecT::memory_space;
    sizes().expect_mine("parameters", detail::made_for(p.weight));
    sizes().expect_mine("tape", tape.made_for);
    sizes().expect_mine("workspace", workspace.made_for);
    sizes().expect_mine_or_none("gradients", detail::made_for(g.weight));
    detail::expect_forward("moe::Linear::backward", tape.x);
    const int tokens = int(tape.x.extent(0));
    detail::expect_at_most("moe::Linear::backward", "tokens (max_tokens of the workspace)", workspace.max_tokens,
                           tokens);
    const auto d_out = detail::checked_matrix<const storage, memory>("moe::Linear::backward, dy", dy, tokens, out_);
    const auto d_in = detail::checked_matrix<storage, memory>("moe::Linear::backward, dx", dx, tokens, in_, d_out);
    const auto delta = source(d_out);
    Map::backward_parameters(exec, workspace.engine, g, tokens, delta, source(tape.x), workspace.column_sum,
                             options.accumulate);
    Map::backward_rows(exec, workspace.engine, p, tokens, delta,
                       detail::StoreRows<storage>{{d_in.data(), std::int64_t(d_in.stride(0)), in_}});
  }

  template <class ExecT, class TapeT>
  void update(const ExecT&, const Parameters<ExecT>&, TapeT&) const {}
  template <class TapeT, class F>
  void visit(TapeT&, F&&) const {}

  template <class MakerT>
  auto make_parameters(const MakerT& maker) const {
    using T = typename MakerT::template element<storage, compute>;
    using Layout = typename Engine<typename MakerT::exec>::Layout;
    return Map::template parameters<T, Layout>(maker, out_, in_, Uniform::fan_in(in_));
  }
  template <class ExecT, class ArenaT>
  Tape<ExecT> make_tape(const ExecT&, ArenaT&, int max_tokens) const {
    return {{}, max_tokens, sizes().made_for};
  }
  template <class ExecT, class ArenaT>
  Workspace<ExecT> make_workspace(const ExecT& exec, ArenaT& arena, int max_tokens, Use) const {
    Workspace<ExecT> workspace;
    workspace.engine = Engine<ExecT>(exec, arena, Map::limits(max_tokens, out_, in_));
    if constexpr (Map::has_bias) workspace.column_sum = detail::ColumnSum<compute>(arena, max_tokens, out_);
    workspace.max_tokens = max_tokens;
    workspace.made_for = sizes().made_for;
    return workspace;
  }

 private:
  detail::OwnSizes sizes() const { return {"moe::Linear", "out, in", {{out_, in_}}}; }

  template <class ViewT>
  static RowSource<storage, compute> source(const ViewT& x) {
    return {.data = x.data(), .stride = std::int64_t(x.stride(0))};
  }
  template <class ExecT, class XT>
  auto inputs_of(const XT& x, int max_tokens) const {
    return detail::checked_inputs<storage, typename ExecT::memory_space>("moe::Linear::forward", x, in_, max_tokens);
  }
  template <class ExecT, class XT, class YT, class WorkspaceT>
  void run(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const YT& y, const WorkspaceT& workspace) const {
    sizes().expect_mine("parameters", detail::made_for(p.weight));
    sizes().expect_mine("workspace", workspace.made_for);
    const auto rows = detail::checked_matrix<storage, typename ExecT::memory_space>("moe::Linear::forward, y", y,
                                                                                    x.extent(0), out_, x);
    Map::forward(exec, workspace.engine, p, int(x.extent(0)), source(x),
                 detail::OutputRows<storage>{rows.data(), std::int64_t(rows.stride(0)), out_});
  }

  int in_;
  int out_;
};

}  // namespace moe
