#pragma once

#include <moe/core/error.hpp>
#include <moe/core/inputs.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/made_for.hpp>
#include <moe/core/precision.hpp>
#include <moe/core/reduce.hpp>
#include <moe/layer/block.hpp>
#include <moe/layer/skip_rows.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <tuple>

namespace moe {

struct IdentityScore;

/// How many tokens go through a block.
struct SkipOptions {
  double capacity = 0.125;  ///< the part of a sequence's tokens, in (0, 1]
  int sequence_length =
      0;  ///< tokens that compete with each other; the last sequence may be shorter; 0: the whole batch
};

/// A block that only some tokens go through: in each sequence the places = ceil(capacity * tokens) ones of the largest
/// router weights; a Residual around it carries the others.
///
///     r_t = <w, x_t>
///     y_t = gate(r_t) * block(x)_t   for the tokens of the largest r, ties to the first
///           0                        for the others
///
/// (Mixture-of-Depths, Raposo et al. 2024; its gate is r itself, IdentityScore.)
///
///     moe::Residual{moe::TokenSkip{block}}                                            // an eighth of all tokens
///     moe::Residual{moe::TokenSkip{block, moe::SkipOptions{.capacity = 0.5, .sequence_length = 2048}, moe::Sigmoid{}}}
///
/// The block runs on the chosen tokens alone, as if the others were not there, in the order of tokens: on so many rows
/// that the host knows, places for each sequence. Token ids and padding are handed on for them. Padding is not chosen;
/// where a sequence has less real tokens than places (which are counted by all tokens), the block gets rows of zeros
/// behind them that moe::Padding marks. A NaN is chosen after every number, and makes its own result NaN.
///
/// It is not causal: whether a token is chosen depends on the later ones of its sequence. The paper decodes with a
/// prediction of the choice instead, of a classifier or by an auxiliary loss, for which the host would not know the
/// number of rows; that is not there. A token that is decoded alone always goes through.
///
/// Tensors: the block's own names, and "skip.weight" [1, hidden] in the type that is computed in, normal with standard
/// deviation 0.02.
///
/// \tparam GateT  a score (router/score.hpp): IdentityScore, Sigmoid
template <class BlockT, class GateT = IdentityScore>
class TokenSkip : public Block<TokenSkip<BlockT, GateT>> {
 public:
  using storage = typename BlockT::storage;
  static constexpr int num_mixtures = detail::num_mixtures<BlockT>();
  using compute = typename Precision<storage>::compute;

  template <class InnerT, class MemoryT>
  struct Tensors {
    InnerT inner;
    Tensor<compute, MemoryT> weight;  ///< [1, hidden]

    template <class F, class... TreesT>
    static void for_each(F&& f, TreesT&... trees) {
      InnerT::for_each(f, trees.inner...);
      f(trees.weight...);
    }
  };
  template <class ExecT>
  using Parameters = Tensors<typename BlockT::template Parameters<ExecT>, typename ExecT::memory_space>;
  template <class ExecT>
  using Gradients = Tensors<typename BlockT::template Gradients<ExecT>, typename ExecT::memory_space>;
  template <class ExecT>
  using Chosen = detail::ChosenTokens<storage, compute, typename ExecT::memory_space>;

  template <class ExecT>
  struct Tape {
    typename BlockT::template Tape<ExecT> inner;
    Chosen<ExecT> chosen;
    int num_tokens = -1;  ///< of the last forward pass; -1: there was none
    int max_tokens = 0;
    detail::MadeFor made_for{};
  };
  template <class ExecT>
  struct Workspace {
    typename BlockT::template Workspace<ExecT> inner;
    Chosen<ExecT> chosen;  ///< of a forward pass without tape; in backward its rows are those of the gradients
    Vector<compute, typename ExecT::memory_space> d_logits;
    detail::ColumnSum<compute> column_sum;
    int max_tokens = 0;
    Use use = Use::training;
    detail::MadeFor made_for{};
  };

  /// \throws Error if the capacity is not in (0, 1], if the length is negative, or if the block has no one width.
  explicit TokenSkip(const BlockT& inner, const SkipOptions& options = {}, const GateT& gate = {})
      : inner_(inner), options_(options), gate_(gate) {
    detail::expect_at_least("moe::TokenSkip", "hidden of the block (in = out)", 1, inner.hidden());
    detail::expect(options.capacity > 0 && options.capacity <= 1, "moe::TokenSkip", "expected 0 < capacity <= 1");
    detail::expect_at_least("moe::TokenSkip", "sequence_length", 0, options.sequence_length);
  }

  const BlockT& inner() const { return inner_; }
  int hidden() const { return inner_.hidden(); }
  /// The same, whose experts' matrices are stored as WeightT; see moe::quantised.
  template <class WeightT, class RowT = ExactRows>
  auto with_weights() const {
    return moe::TokenSkip{detail::with_weights<WeightT, RowT>(inner_), options_, gate_};
  }
  /// Rows that the block runs on for so many tokens.
  int rows(int num_tokens) const { return map(num_tokens).rows(); }

  template <class ExecT, class XT, class YT, class WorkspaceT>
  void forward(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const YT& y, WorkspaceT& workspace) const {
    run_sizes(workspace.max_tokens).expect_mine("workspace", workspace.made_for);
    run(exec, p, inputs_of<ExecT>(x, workspace.max_tokens), y, workspace.chosen, workspace.inner);
  }
  template <class ExecT, class XT, class YT, class TapeT, class WorkspaceT>
  void forward(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const YT& y, TapeT& tape,
               WorkspaceT& workspace) const {
    run_sizes(tape.max_tokens).expect_mine("tape", tape.made_for);
    const auto in = inputs_of<ExecT>(x, std::min(tape.max_tokens, workspace.max_tokens));
    tape.num_tokens = int(in.x.extent(0));
    run(exec, p, in, y, tape.chosen, tape.inner, workspace.inner);
  }

  template <class ExecT, class TapeT, class DyT, class DxT, class WorkspaceT>
  void backward(const ExecT& exec, const Parameters<ExecT>& p, const TapeT& tape, const DyT& dy, const DxT& dx,
                const Gradients<ExecT>& g, WorkspaceT& workspace, const Backward& options = {}) const {
    const std::string& label = detail::kernel_label<"moe::token_skip::backward">;
    using memory = typename ExecT::memory_space;
    using Rows = Matrix<storage, memory>;
    using ConstRows = Matrix<const storage, memory>;
    sizes().expect_mine("parameters", detail::made_for(p.weight));
    run_sizes(tape.max_tokens).expect_mine("tape", tape.made_for);
    run_sizes(workspace.max_tokens).expect_mine("workspace", workspace.made_for);
    sizes().expect_mine_or_none("gradients", detail::made_for(g.weight));
    detail::expect(tape.num_tokens >= 0, "moe::TokenSkip::backward",
                   "the tape holds no forward pass; call forward(exec, parameters, x, y, tape, workspace) first");
    detail::expect(workspace.use == Use::training, "moe::TokenSkip::backward",
                   "the workspace was made for inference; make it with Use::training");
    const int tokens = tape.num_tokens, rows = this->rows(tokens);
    detail::expect_at_most("moe::TokenSkip::backward", "tokens (max_tokens of the workspace)", workspace.max_tokens,
                           tokens);
    const ConstRows d_out =
        detail::checked_matrix<const storage, memory>("moe::TokenSkip::backward, dy", dy, tokens, hidden());
    const Rows d_in =
        detail::checked_matrix<storage, memory>("moe::TokenSkip::backward, dx", dx, tokens, hidden(), d_out);
    const Rows d_results = detail::first_rows(workspace.chosen.rows, rows);
    const Rows d_rows = detail::first_rows(workspace.chosen.results, rows);
    compute* const d_logits = workspace.d_logits.data();

    detail::launch(
        exec, label, rows,
        detail::SkipGateBackward<Chosen<ExecT>, GateT, ConstRows, compute>{tape.chosen, gate_, d_out, d_logits});
    detail::launch(exec, label, chunks(rows),
                   detail::GatherTokens<ConstRows, Rows, compute>{d_out, d_results, tape.chosen.tokens.data(),
                                                                  tape.chosen.gates.data()});
    inner_.backward(exec, p.inner, tape.inner, d_results, d_rows, g.inner, workspace.inner, options);
    detail::launch(exec, label, chunks(tokens),
                   detail::ScatterGradient<Chosen<ExecT>, Rows, Rows, compute>{tape.chosen, d_rows, d_in, d_logits,
                                                                               p.weight.storage.data()});
    if (g.weight.empty()) return;
    workspace.column_sum(exec, label, rows, hidden(), detail::SkipWeightTerm<Rows, compute>{tape.chosen.rows, d_logits},
                         detail::StoreSum<compute>{g.weight.storage.data(), options.accumulate});
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
    using InnerT = decltype(inner_.make_parameters(maker));
    const int n = hidden();
    return Tensors<InnerT, typename MakerT::memory>{
        inner_.make_parameters(maker),
        maker.in("skip").template make<compute, RowMajor>({"weight", {1, n}, 1, {1, 1, n}}, Normal{})};
  }
  template <class ExecT, class ArenaT>
  Tape<ExecT> make_tape(const ExecT& exec, ArenaT& arena, int max_tokens) const {
    Tape<ExecT> tape;
    tape.inner = inner_.make_tape(exec, arena, rows(max_tokens));
    tape.chosen = cut_chosen<ExecT>(arena, max_tokens);
    tape.max_tokens = max_tokens;
    tape.made_for = run_sizes(max_tokens).made_for;
    return tape;
  }
  template <class ExecT, class ArenaT>
  Workspace<ExecT> make_workspace(const ExecT& exec, ArenaT& arena, int max_tokens, Use use) const {
    const int most = rows(max_tokens);
    Workspace<ExecT> w;
    w.inner = inner_.make_workspace(exec, arena, most, use);
    w.chosen = cut_chosen<ExecT>(arena, max_tokens);
    w.max_tokens = max_tokens;
    w.use = use;
    w.made_for = run_sizes(max_tokens).made_for;
    if (use == Use::inference) return w;
    w.d_logits = arena.template vector<compute>(most);
    w.column_sum = detail::ColumnSum<compute>(arena, most, hidden());
    return w;
  }

 private:
  detail::OwnSizes sizes() const { return {"moe::TokenSkip", "1, hidden", {{1, hidden()}}}; }
  /// Of a tape or workspace.
  detail::OwnSizes run_sizes(int max_tokens) const {
    return {"moe::TokenSkip",
            "hidden, max_tokens, places, sequence_length",
            {{hidden(), max_tokens, places(max_tokens), options_.sequence_length}}};
  }

  /// Places among so many tokens. The rounding of the product must not make one more: 0.07 * 100 is above 7.
  int places(int tokens) const { return int(std::ceil(options_.capacity * tokens * (1 - 1e-12))); }
  detail::SkipMap map(int tokens) const {
    const int most = std::max(tokens, 1);
    const int length = options_.sequence_length == 0 ? most : std::min(options_.sequence_length, most);
    const int last = tokens == 0 ? 0 : (tokens - 1) % length + 1;
    return {tokens, length, places(length), places(last)};
  }
  std::int64_t chunks(int rows) const { return std::int64_t(rows) * detail::RowChunk::count(hidden()); }

  template <class ExecT, class ArenaT>
  Chosen<ExecT> cut_chosen(ArenaT& arena, int max_tokens) const {
    const int most = rows(max_tokens);
    return {arena.template vector<compute>(max_tokens),
            arena.template vector<int>(max_tokens),
            arena.template vector<int>(most),
            arena.template vector<compute>(most),
            arena.template vector<int>(most),
            arena.template vector<std::int64_t>(most),
            arena.template matrix<storage>(most, hidden()),
            arena.template matrix<storage>(most, hidden()),
            {arena.template vector<int>(max_tokens), false}};
  }
  template <class ExecT, class XT>
  auto inputs_of(const XT& x, int max_tokens) const {
    return detail::checked_inputs<storage, typename ExecT::memory_space>("moe::TokenSkip::forward", x, hidden(),
                                                                         max_tokens);
  }

  /// A side input for the chosen tokens.
  template <class ExecT, class ViewT>
  static auto gathered(const ExecT& exec, const TokenIds<ViewT>& side, const Chosen<ExecT>& chosen, int tokens,
                       int rows) {
    const std::string& label = detail::kernel_label<"moe::token_skip::gather">;
    detail::expect_extent("moe::TokenSkip::forward", "token ids", tokens, std::int64_t(side.view.extent(0)));
    detail::launch(exec, label, rows, detail::GatherIds<Chosen<ExecT>, ViewT>{chosen, side.view});
    return TokenIds{detail::first_elements(chosen.ids, rows)};
  }
  template <class ExecT, class ViewT>
  static auto gathered(const ExecT&, const Padding<ViewT>&, const Chosen<ExecT>& chosen, int, int rows) {
    return Padding{detail::first_elements(chosen.mask, rows)};
  }
  template <class ExecT, class T>
  static auto gathered(const ExecT&, const Step<T>& side, const Chosen<ExecT>&, int, int) {
    return side;
  }
  template <class ExecT, class SideT>
  static auto gathered(const ExecT&, const SideT& side, const Chosen<ExecT>&, int, int) {
    static_assert(!sizeof(SideT),
                  "moe: TokenSkip hands on moe::TokenIds, moe::Padding and moe::Step; another side input, such as "
                  "moe::Replay, does not know which tokens are chosen");
    return side;
  }

  template <class ExecT, class InputsT, class YT, class... KeptT>
  void run(const ExecT& exec, const Parameters<ExecT>& p, const InputsT& in, const YT& y, Chosen<ExecT>& chosen,
           KeptT&... inner_tape_and_workspace) const {
    const std::string& label = detail::kernel_label<"moe::token_skip::forward">;
    using memory = typename ExecT::memory_space;
    using Rows = Matrix<storage, memory>;
    sizes().expect_mine("parameters", detail::made_for(p.weight));
    const int tokens = int(in.x.extent(0));
    const Rows out = detail::checked_matrix<storage, memory>("moe::TokenSkip::forward, y", y, tokens, hidden(), in.x);
    const detail::SkipMap map = this->map(tokens);
    const int rows = map.rows();
    chosen.real.note(exec, "moe::TokenSkip::forward", in);

    detail::launch(exec, label, tokens,
                   detail::SkipLogits<decltype(in.x), compute>{in.x, p.weight.storage.data(), chosen.logits.data()});
    detail::launch(exec, label, map.sequences(),
                   detail::ChooseTokens<compute, memory>{map, chosen.logits.data(), chosen.real, chosen.row_of.data(),
                                                         chosen.tokens.data()});
    detail::launch(exec, label, rows, detail::GateRows<Chosen<ExecT>, GateT>{chosen, gate_});
    detail::launch(
        exec, label, chunks(rows),
        detail::GatherTokens<decltype(in.x), Rows, compute>{in.x, chosen.rows, chosen.tokens.data(), nullptr});
    const decltype(in.x) chosen_x = detail::first_rows(chosen.rows, rows);
    const auto chosen_inputs = std::apply(
        [&](const auto&... sides) { return inputs(chosen_x, gathered(exec, sides, chosen, tokens, rows)...); },
        in.sides);
    inner_.forward(exec, p.inner, chosen_inputs, detail::first_rows(chosen.results, rows), inner_tape_and_workspace...);
    detail::launch(exec, label, chunks(tokens), detail::ScatterResults<Chosen<ExecT>, Rows>{chosen, out});
  }

  BlockT inner_;
  SkipOptions options_;
  [[no_unique_address]] GateT gate_;
};

// Without these guides TokenSkip{TokenSkip{block}} would be a copy of the inner one.
template <class BlockT>
TokenSkip(const BlockT&) -> TokenSkip<BlockT>;
template <class BlockT>
TokenSkip(const BlockT&, const SkipOptions&) -> TokenSkip<BlockT>;
template <class BlockT, class GateT>
TokenSkip(const BlockT&, const SkipOptions&, const GateT&) -> TokenSkip<BlockT, GateT>;

}  // namespace moe
