#pragma once

#include <moe/core/interleaved_sum.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/made_for.hpp>
#include <moe/core/precision.hpp>
#include <moe/core/reduce.hpp>
#include <moe/core/requirements.hpp>
#include <moe/core/shape.hpp>
#include <moe/gemm/best_engine.hpp>
#include <moe/layer/block.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>

namespace moe {

/// The shared expert counts in full. (DeepSeek-V2 and V3, Kimi K2, GLM-4.5.)
struct NoGate {
  static constexpr bool exists = false;
};
/// The shared expert counts by sigmoid(<w, x>), a gate of its own for each token. (Qwen1.5-MoE and Qwen2-MoE.)
struct SigmoidGate {
  static constexpr bool exists = true;
};

namespace detail {

/// gate[t] = sigmoid(<w, x_t>), or 1 without w.
template <class XT, class T>
struct GateTokens {
  XT x;
  const T* weight;
  T* gates;
  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    gates[t] = weight ? 1 / (1 + Kokkos::exp(-dot<T>(&x(t, 0), weight, int(x.extent(1))))) : T(1);
  }
};

/// y[t] += gate[t] * rows[t]
template <class RowsT, class YT, class T>
struct AddGated {
  static constexpr int chunk = 64;
  RowsT rows;
  YT y;
  const T* gates;
  int chunks;
  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    using Storage = typename YT::non_const_value_type;
    const int t = int(item / chunks), first = int(item % chunks) * chunk;
    const int end = Kokkos::min(first + chunk, int(y.extent(1)));
    const T gate = gates[t];
    const auto* const from = &rows(t, 0);
    auto* const to = &y(t, 0);
    for (int c = first; c < end; ++c) to[c] = Storage(T(to[c]) + gate * T(from[c]));
  }
};

/// dx[t] += d_rows[t] + d_z[t] * w, the way back through the shared expert and its gate.
template <class RowsT, class DxT, class T>
struct AddSharedGradient {
  static constexpr int chunk = 64;
  RowsT d_rows;
  DxT dx;
  const T* d_z;
  const T* weight;  ///< nullptr: no gate
  int chunks;
  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    using Storage = typename DxT::non_const_value_type;
    const int t = int(item / chunks), first = int(item % chunks) * chunk;
    const int end = Kokkos::min(first + chunk, int(dx.extent(1)));
    const auto* const from = &d_rows(t, 0);
    auto* const to = &dx(t, 0);
    if (weight == nullptr) {
      for (int c = first; c < end; ++c) to[c] = Storage(T(to[c]) + T(from[c]));
    } else {
      for (int c = first; c < end; ++c) to[c] = Storage(T(to[c]) + T(from[c]) + d_z[t] * weight[c]);
    }
  }
};

/// d_z = d_gate * s (1 - s), in place.
template <class T>
struct GateBackward {
  const T* gates;
  T* d_gates;
  KOKKOS_FUNCTION void operator()(std::int64_t t) const { d_gates[t] *= gates[t] * (1 - gates[t]); }
};

template <class XT, class T>
struct GateWeightTerm {
  XT x;
  const T* d_z;
  KOKKOS_FUNCTION T operator()(std::int64_t t, std::int64_t c) const { return d_z[t] * T(x(t, c)); }
};

}  // namespace detail

/// A block with an expert beside it that every token visits: y = block(x) + gate(x) * expert(x). (DeepSeekMoE, Dai et al.
/// 2024; Qwen2-MoE.)
///
///     moe::Shared block{layer, moe::SwiGlu{}, 2 * 1408};                          // two shared experts of 1408 are one of 2816
///     moe::Shared block{layer, moe::SwiGlu{}, 5632, moe::SigmoidGate{}};
///
/// Tensors: the block's own names, "shared.gate_up", "shared.down", and "shared_gate.weight" [1, hidden], normal with
/// standard deviation 0.02. Padding passes through the shared expert as any token: give it dy = 0.
template <class BlockT, class ExpertT, class GateT = NoGate, class EngineT = BestEngine>
class Shared : public Block<Shared<BlockT, ExpertT, GateT, EngineT>> {
 public:
  using storage = typename BlockT::storage;
  static constexpr int num_mixtures = detail::num_mixtures<BlockT>();
  using compute = typename Precision<storage>::compute;
  using SharedShape = Shape<1, dynamic, dynamic>;
  template <class ExecT>
  using TypesOf = Types<ExecT, SharedShape, Precision<storage>, typename EngineT::template type<ExecT, compute>>;

  template <class InnerT, class TypesT>
  struct Tensors {
    InnerT inner;
    detail::ParametersOf<ExpertT, TypesT> shared;
    Tensor<compute, typename TypesT::memory> gate;  ///< [1, hidden]; empty without gate
    detail::MadeFor made_for{};

    template <class F, class... TreesT>
    static void for_each(F&& f, TreesT&... trees) {
      InnerT::for_each(f, trees.inner...);
      decltype(shared)::for_each(f, trees.shared...);
      if constexpr (GateT::exists) f(trees.gate...);
    }
  };
  template <class ExecT>
  using Parameters = Tensors<typename BlockT::template Parameters<ExecT>, TypesOf<ExecT>>;
  template <class ExecT>
  using Gradients = Tensors<typename BlockT::template Gradients<ExecT>, typename TypesOf<ExecT>::gradients>;

  template <class ExecT>
  struct Tape {
    using memory = typename ExecT::memory_space;
    typename BlockT::template Tape<ExecT> inner;
    detail::TapeOf<ExpertT, TypesOf<ExecT>> shared;
    Vector<compute, memory> gates;
    Matrix<const storage, memory> x;  ///< the caller's: it must live until backward
    int max_tokens = 0;
    detail::MadeFor made_for{};
  };
  template <class ExecT>
  struct Workspace {
    using memory = typename ExecT::memory_space;
    typename BlockT::template Workspace<ExecT> inner;
    typename TypesOf<ExecT>::engine engine;
    detail::WorkspaceOf<ExpertT, TypesOf<ExecT>> shared;
    Matrix<storage, memory> rows;  ///< the shared expert's results, and in backward the gradient of its input
    Vector<compute, memory> gates;
    Vector<compute, memory> d_gates;
    detail::ColumnSum<compute> column_sum;
    int max_tokens = 0;
    Use use = Use::training;
    detail::MadeFor made_for{};
  };

  /// \throws Error if intermediate is not positive, or if the expert cannot do with these sizes.
  Shared(const BlockT& inner, const ExpertT& expert, int intermediate, const GateT& = {}, const EngineT& = {})
      : inner_(inner), expert_(expert) {
    shape_.hidden = inner.hidden();
    shape_.intermediate = intermediate;
    detail::expect_at_least("moe::Shared", "hidden of the block (in = out)", 1, inner.hidden());
    detail::expect_at_least("moe::Shared", "intermediate", 1, intermediate);
    if constexpr (requires { expert_.check(shape_); }) expert_.check(shape_);
  }

  const BlockT& inner() const { return inner_; }
  const ExpertT& expert() const { return expert_; }
  int hidden() const { return inner_.hidden(); }
  /// The same, whose block has its experts' matrices stored as WeightT; see moe::quantised. The shared expert stays.
  template <class WeightT, class RowT = ExactRows>
  auto with_weights() const {
    const auto inner = detail::with_weights<WeightT, RowT>(inner_);
    return Shared<std::decay_t<decltype(inner)>, ExpertT, GateT, EngineT>(inner, expert_, shape_.intermediate);
  }

  template <class ExecT, class XT, class YT, class WorkspaceT>
  void forward(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const YT& y, WorkspaceT& workspace) const {
    sizes().expect_mine("workspace", workspace.made_for);
    const auto in = inputs_of<ExecT>(x, workspace.max_tokens);
    detail::expect_apart("moe::Shared::forward, y", in.x, y);  // the block's y would be the shared expert's x
    inner_.forward(exec, p.inner, in, y, workspace.inner);
    add_shared(exec, p, in.x, y, NoTape{}, workspace.gates, workspace);
  }
  template <class ExecT, class XT, class YT, class TapeT, class WorkspaceT>
  void forward(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const YT& y, TapeT& tape,
               WorkspaceT& workspace) const {
    sizes().expect_mine("workspace", workspace.made_for);
    sizes().expect_mine("tape", tape.made_for);
    const auto in = inputs_of<ExecT>(x, std::min(tape.max_tokens, workspace.max_tokens));
    detail::expect_apart("moe::Shared::forward, y", in.x, y);
    tape.x = in.x;
    inner_.forward(exec, p.inner, in, y, tape.inner, workspace.inner);
    add_shared(exec, p, in.x, y, tape.shared, tape.gates, workspace);
  }

  template <class ExecT, class TapeT, class DyT, class DxT, class WorkspaceT>
  void backward(const ExecT& exec, const Parameters<ExecT>& p, const TapeT& tape, const DyT& dy, const DxT& dx,
                const Gradients<ExecT>& g, WorkspaceT& workspace, const Backward& options = {}) const {
    static_assert(detail::expert_can_train<ExpertT, TypesOf<ExecT>>());
    const std::string& label = detail::kernel_label<"moe::shared::backward">;
    using memory = typename ExecT::memory_space;
    sizes().expect_mine("parameters", p.made_for);
    sizes().expect_mine("tape", tape.made_for);
    sizes().expect_mine("workspace", workspace.made_for);
    sizes().expect_mine_or_none("gradients", g.made_for);
    detail::expect_forward("moe::Shared::backward", tape.x);
    const int tokens = int(tape.x.extent(0));
    detail::expect(workspace.use == Use::training, "moe::Shared::backward",
                   "the workspace was made for inference; make it with Use::training");
    detail::expect_at_most("moe::Shared::backward", "tokens (max_tokens of the workspace)", workspace.max_tokens,
                           tokens);
    const auto d_out = detail::checked_matrix<const storage, memory>("moe::Shared::backward, dy", dy, tokens, hidden());
    const auto d_in = detail::checked_matrix<storage, memory>("moe::Shared::backward, dx", dx, tokens, hidden(), d_out);
    inner_.backward(exec, p.inner, tape.inner, d_out, d_in, g.inner, workspace.inner, options);

    const Context<TypesOf<ExecT>> context{exec, shape_, workspace.engine, tokens};
    RowSource<storage, compute> delta = source(d_out);
    delta.scale = tape.gates.data();
    expert_.backward(context, p.shared, tape.shared, Segments{.max_rows = tokens}, source(tape.x), delta,
                     workspace.d_gates, workspace.rows, g.shared, options, workspace.shared);
    const compute* weight = nullptr;
    if constexpr (GateT::exists) {
      weight = p.gate.storage.data();
      detail::launch(exec, label, tokens, detail::GateBackward<compute>{tape.gates.data(), workspace.d_gates.data()});
      if (!g.gate.empty()) {
        using In = Matrix<const storage, memory>;
        workspace.column_sum(exec, label, tokens, hidden(),
                             detail::GateWeightTerm<In, compute>{tape.x, workspace.d_gates.data()},
                             detail::StoreSum<compute>{g.gate.storage.data(), options.accumulate});
      }
    }
    using Add = detail::AddSharedGradient<Matrix<storage, memory>, Matrix<storage, memory>, compute>;
    const int chunks = (hidden() + Add::chunk - 1) / Add::chunk;
    detail::launch(exec, label, std::int64_t(tokens) * chunks,
                   Add{workspace.rows, d_in, workspace.d_gates.data(), weight, chunks});
  }

  template <class ExecT, class TapeT>
  void update(const ExecT& exec, const Parameters<ExecT>& p, TapeT& tape) const {
    inner_.update(exec, p.inner, tape.inner);
  }
  template <class TapeT, class F>
  void visit(TapeT& tape, F&& f) const {
    inner_.visit(tape.inner, f);
  }

  template <class MakerT>
  auto make_parameters(const MakerT& maker) const {
    using types = typename MakerT::template types<TypesOf<typename MakerT::exec>>;
    static_assert(detail::expert_is_complete<ExpertT, TypesOf<typename MakerT::exec>>());
    using InnerT = decltype(inner_.make_parameters(maker));
    Tensors<InnerT, types> made{inner_.make_parameters(maker),
                                expert_.template parameters<types>(maker.in("shared"), shape_),
                                {},
                                sizes().made_for};
    if constexpr (GateT::exists) {
      const int n = hidden();
      made.gate = maker.in("shared_gate").template make<compute, RowMajor>({"weight", {1, n}, 1, {1, 1, n}}, Normal{});
    }
    return made;
  }
  template <class ExecT, class ArenaT>
  Tape<ExecT> make_tape(const ExecT& exec, ArenaT& arena, int max_tokens) const {
    Tape<ExecT> tape;
    tape.inner = inner_.make_tape(exec, arena, max_tokens);
    tape.shared = expert_.template tape<TypesOf<ExecT>>(arena, shape_, max_tokens);
    tape.gates = arena.template vector<compute>(max_tokens);
    tape.max_tokens = max_tokens;
    tape.made_for = sizes().made_for;
    return tape;
  }
  template <class ExecT, class ArenaT>
  Workspace<ExecT> make_workspace(const ExecT& exec, ArenaT& arena, int max_tokens, Use use) const {
    using types = TypesOf<ExecT>;
    Workspace<ExecT> w;
    w.inner = inner_.make_workspace(exec, arena, max_tokens, use);
    w.engine = typename types::engine(exec, arena, expert_.limits(shape_, max_tokens));
    w.shared = expert_.template workspace<types>(arena, shape_, max_tokens, use);
    w.rows = arena.template matrix<storage>(max_tokens, padded<storage>(hidden()));
    w.gates = arena.template vector<compute>(max_tokens);
    w.max_tokens = max_tokens;
    w.use = use;
    w.made_for = sizes().made_for;
    if (use == Use::inference) return w;
    w.d_gates = arena.template vector<compute>(max_tokens);
    if constexpr (GateT::exists) w.column_sum = detail::ColumnSum<compute>(arena, max_tokens, hidden());
    return w;
  }

 private:
  detail::OwnSizes sizes() const {
    return {"moe::Shared", "hidden, intermediate of the shared expert", {{shape_.hidden, shape_.intermediate}}};
  }

  template <class ViewT>
  static RowSource<storage, compute> source(const ViewT& x) {
    return {.data = x.data(), .stride = std::int64_t(x.stride(0))};
  }
  template <class ExecT, class XT>
  auto inputs_of(const XT& x, int max_tokens) const {
    return detail::checked_inputs<storage, typename ExecT::memory_space>("moe::Shared::forward", x, hidden(),
                                                                         max_tokens);
  }

  template <class ExecT, class XT, class YT, class TapeT, class GatesT, class WorkspaceT>
  void add_shared(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const YT& y, const TapeT& tape,
                  const GatesT& gates, const WorkspaceT& workspace) const {
    const std::string& label = detail::kernel_label<"moe::shared::forward">;
    using memory = typename ExecT::memory_space;
    sizes().expect_mine("parameters", p.made_for);
    const int tokens = int(x.extent(0));
    const auto out = detail::checked_matrix<storage, memory>("moe::Shared::forward, y", y, tokens, hidden());
    const Context<TypesOf<ExecT>> context{exec, shape_, workspace.engine, tokens};
    expert_.forward(context, p.shared, Segments{.max_rows = tokens}, source(x), workspace.rows, tape, workspace.shared);
    const compute* weight = nullptr;
    if constexpr (GateT::exists) weight = p.gate.storage.data();
    detail::launch(exec, label, tokens, detail::GateTokens<XT, compute>{x, weight, gates.data()});
    using Add = detail::AddGated<Matrix<storage, memory>, Matrix<storage, memory>, compute>;
    const int chunks = (hidden() + Add::chunk - 1) / Add::chunk;
    detail::launch(exec, label, std::int64_t(tokens) * chunks, Add{workspace.rows, out, gates.data(), chunks});
  }

  [[no_unique_address]] SharedShape shape_;
  BlockT inner_;
  [[no_unique_address]] ExpertT expert_;
};

}  // namespace moe
