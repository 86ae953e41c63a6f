#pragma once

#include <moe/core/interleaved_sum.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/made_for.hpp>
#include <moe/core/precision.hpp>
#include <moe/core/reduce.hpp>
#include <moe/core/shape.hpp>
#include <moe/layer/block.hpp>

#include <cstdint>
#include <string>

namespace moe {
namespace detail {

template <class ComputeT, class XT>
struct SquareTerm {
  const XT* x;
  KOKKOS_FUNCTION ComputeT operator()(int c) const { return ComputeT(x[c]) * ComputeT(x[c]); }
};
template <class ComputeT, class T>
struct ScaledProductTerm {
  const T* x;
  const T* dy;
  const T* weight;
  KOKKOS_FUNCTION ComputeT operator()(int c) const { return ComputeT(x[c]) * ComputeT(dy[c]) * ComputeT(weight[c]); }
};

template <class ComputeT, class XT, class YT, class ScalesT>
struct NormaliseRow {
  using T = typename YT::non_const_value_type;
  XT x;
  YT y;
  ScalesT scales;  ///< [tokens], 1 / rms
  const T* weight;
  ComputeT epsilon;

  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    const int columns = int(x.extent(1));
    const T* const from = &x(t, 0);
    T* const to = &y(t, 0);
    const ComputeT mean = interleaved_sum<ComputeT>(columns, SquareTerm<ComputeT, T>{from}) / ComputeT(columns);
    const ComputeT scale = 1 / Kokkos::sqrt(mean + epsilon);
    scales(t) = scale;
    for (int c = 0; c < columns; ++c) to[c] = T(ComputeT(from[c]) * scale * ComputeT(weight[c]));
  }
};

/// dx = s (w dy) - x s^3 / n * <w dy, x>
template <class ComputeT, class XT, class DyT, class DxT, class ScalesT>
struct NormaliseRowBackward {
  using T = typename DxT::non_const_value_type;
  XT x;
  DyT dy;
  DxT dx;
  ScalesT scales;
  const T* weight;

  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    const int columns = int(x.extent(1));
    const T* const from = &x(t, 0);
    const T* const delta = &dy(t, 0);
    T* const to = &dx(t, 0);
    const ComputeT s = scales(t);
    const ComputeT dot = interleaved_sum<ComputeT>(columns, ScaledProductTerm<ComputeT, T>{from, delta, weight});
    const ComputeT pull = s * s * s * dot / ComputeT(columns);
    for (int c = 0; c < columns; ++c) {
      to[c] = T(s * ComputeT(weight[c]) * ComputeT(delta[c]) - ComputeT(from[c]) * pull);
    }
  }
};

template <class ComputeT, class XT, class DyT, class ScalesT>
struct NormWeightTerm {
  XT x;
  DyT dy;
  ScalesT scales;
  KOKKOS_FUNCTION ComputeT operator()(std::int64_t t, std::int64_t c) const {
    return ComputeT(dy(t, c)) * ComputeT(x(t, c)) * scales(t);
  }
};

}  // namespace detail

/// y = weight * x / sqrt(mean(x^2) + epsilon), each token for itself. (Zhang and Sennrich 2019; Llama, Qwen.)
template <int HiddenV = dynamic, class PrecisionT = Precision<>>
class RmsNorm : public Block<RmsNorm<HiddenV, PrecisionT>> {
 public:
  using storage = typename PrecisionT::storage;
  using compute = typename PrecisionT::compute;

  template <class ExecT, class T>
  struct Tensors {
    Tensor<T, typename ExecT::memory_space> weight;  ///< [hidden], starts at one

    template <class F, class... TreesT>
    static void for_each(F&& f, TreesT&... trees) {
      f(trees.weight...);
    }
  };
  template <class ExecT>
  using Parameters = Tensors<ExecT, storage>;
  template <class ExecT>
  using Gradients = Tensors<ExecT, compute>;
  template <class ExecT>
  struct Tape {
    Vector<compute, typename ExecT::memory_space> scales;
    Matrix<const storage, typename ExecT::memory_space> x;  ///< the caller's: it must live until backward
    int max_tokens = 0;
    detail::MadeFor made_for{};
  };
  template <class ExecT>
  struct Workspace {
    Vector<compute, typename ExecT::memory_space> scales;
    detail::ColumnSum<compute> column_sum;
    int max_tokens = 0;
    Use use = Use::training;
    detail::MadeFor made_for{};
  };

  /// \throws Error if hidden is not positive.
  explicit RmsNorm(Size<HiddenV> hidden = {}, double epsilon = 1e-6, const PrecisionT& = {})
      : hidden_(hidden), epsilon_(epsilon) {
    detail::expect_at_least("moe::RmsNorm", "hidden", 1, hidden_);
  }

  int hidden() const { return hidden_; }

  template <class ExecT, class XT, class YT, class WorkspaceT>
  void forward(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const YT& y, WorkspaceT& workspace) const {
    sizes().expect_mine("workspace", workspace.made_for);
    run(exec, p, inputs_of<ExecT>(x, workspace.max_tokens).x, y, workspace.scales);
  }
  template <class ExecT, class XT, class YT, class TapeT, class WorkspaceT>
  void forward(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const YT& y, TapeT& tape,
               WorkspaceT&) const {
    sizes().expect_mine("tape", tape.made_for);
    tape.x = inputs_of<ExecT>(x, tape.max_tokens).x;
    run(exec, p, tape.x, y, tape.scales);
  }

  template <class ExecT, class TapeT, class DyT, class DxT, class WorkspaceT>
  void backward(const ExecT& exec, const Parameters<ExecT>& p, const TapeT& tape, const DyT& dy, const DxT& dx,
                const Gradients<ExecT>& g, WorkspaceT& workspace, const Backward& options = {}) const {
    const std::string& label = detail::kernel_label<"moe::rms_norm::backward">;
    using memory = typename ExecT::memory_space;
    sizes().expect_mine("parameters", detail::made_for(p.weight));
    sizes().expect_mine("tape", tape.made_for);
    sizes().expect_mine("workspace", workspace.made_for);
    sizes().expect_mine_or_none("gradients", detail::made_for(g.weight));
    detail::expect_forward("moe::RmsNorm::backward", tape.x);
    const std::int64_t tokens = std::int64_t(tape.x.extent(0));
    detail::expect(workspace.use == Use::training, "moe::RmsNorm::backward",
                   "the workspace was made for inference; make it with Use::training");
    detail::expect_at_most("moe::RmsNorm::backward", "tokens (max_tokens of the workspace)", workspace.max_tokens,
                           tokens);
    const auto d_out =
        detail::checked_matrix<const storage, memory>("moe::RmsNorm::backward, dy", dy, tokens, hidden());
    const auto d_in =
        detail::checked_matrix<storage, memory>("moe::RmsNorm::backward, dx", dx, tokens, hidden(), d_out);
    using In = Matrix<const storage, memory>;
    using Scales = Vector<compute, memory>;
    detail::launch(exec, label, tokens,
                   detail::NormaliseRowBackward<compute, In, In, Matrix<storage, memory>, Scales>{
                       tape.x, d_out, d_in, tape.scales, p.weight.storage.data()});
    if (g.weight.empty()) return;
    workspace.column_sum(exec, label, tokens, hidden(),
                         detail::NormWeightTerm<compute, In, In, Scales>{tape.x, d_out, tape.scales},
                         detail::StoreSum<compute>{g.weight.storage.data(), options.accumulate});
  }

  template <class ExecT, class TapeT>
  void update(const ExecT&, const Parameters<ExecT>&, TapeT&) const {}
  template <class TapeT, class F>
  void visit(TapeT&, F&&) const {}

  template <class MakerT>
  auto make_parameters(const MakerT& maker) const {
    const int n = hidden_;
    using T = typename MakerT::template element<storage, compute>;
    return Tensors<typename MakerT::exec, T>{
        maker.template make<T, RowMajor>({"weight", {n}, 1, {1, n, 1}, {.decay = false}}, Ones{})};
  }
  template <class ExecT, class ArenaT>
  Tape<ExecT> make_tape(const ExecT&, ArenaT& arena, int max_tokens) const {
    return {arena.template vector<compute>(max_tokens), {}, max_tokens, sizes().made_for};
  }
  template <class ExecT, class ArenaT>
  Workspace<ExecT> make_workspace(const ExecT&, ArenaT& arena, int max_tokens, Use use) const {
    return {
        arena.template vector<compute>(max_tokens),
        use == Use::training ? detail::ColumnSum<compute>(arena, max_tokens, hidden()) : detail::ColumnSum<compute>(),
        max_tokens, use, sizes().made_for};
  }

 private:
  detail::OwnSizes sizes() const { return {"moe::RmsNorm", "hidden, 1", {{hidden(), 1}}}; }

  template <class ExecT, class XT>
  auto inputs_of(const XT& x, int max_tokens) const {
    return detail::checked_inputs<storage, typename ExecT::memory_space>("moe::RmsNorm::forward", x, hidden(),
                                                                         max_tokens);
  }
  template <class ExecT, class XT, class YT, class ScalesT>
  void run(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const YT& y, const ScalesT& scales) const {
    const std::string& label = detail::kernel_label<"moe::rms_norm::forward">;
    using memory = typename ExecT::memory_space;
    sizes().expect_mine("parameters", detail::made_for(p.weight));
    const auto out =
        detail::checked_matrix<storage, memory>("moe::RmsNorm::forward, y", y, x.extent(0), std::size_t(hidden()), x);
    detail::launch(exec, label, std::int64_t(x.extent(0)),
                   detail::NormaliseRow<compute, XT, Matrix<storage, memory>, ScalesT>{
                       x, out, scales, p.weight.storage.data(), compute(epsilon_)});
  }

  [[no_unique_address]] Size<HiddenV> hidden_;
  double epsilon_;
};

RmsNorm(int)->RmsNorm<dynamic>;
RmsNorm(int, double)->RmsNorm<dynamic>;
template <class PrecisionT>
RmsNorm(int, double, PrecisionT) -> RmsNorm<dynamic, PrecisionT>;

}  // namespace moe
