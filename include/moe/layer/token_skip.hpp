#pragma once

#include <moe/core/error.hpp>
#include <moe/core/inputs.hpp>
#include <moe/core/interleaved_sum.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/made_for.hpp>
#include <moe/core/precision.hpp>
#include <moe/core/radix_select.hpp>
#include <moe/core/reduce.hpp>
#include <moe/layer/block.hpp>
#include <moe/layer/real_tokens.hpp>

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

namespace detail {

/// The sequences of a batch, and the rows that their chosen tokens have: sorted by sequence.
struct SkipMap {
  int tokens = 0;
  int length = 1;       ///< tokens of a sequence; the last may have fewer
  int places = 0;       ///< rows of a sequence ...
  int last_places = 0;  ///< ... and of the last one

  KOKKOS_FUNCTION int sequences() const { return (tokens + length - 1) / length; }
  KOKKOS_FUNCTION int begin(int sequence) const { return sequence * length; }
  KOKKOS_FUNCTION int end(int sequence) const { return Kokkos::min(tokens, (sequence + 1) * length); }
  KOKKOS_FUNCTION int first_row(int sequence) const { return sequence * places; }
  KOKKOS_FUNCTION int places_of(int sequence) const { return sequence == sequences() - 1 ? last_places : places; }
  int rows() const { return tokens == 0 ? 0 : first_row(sequences() - 1) + last_places; }
};

/// Which tokens were chosen, and what goes into the block and comes out of it.
template <class StorageT, class ComputeT, class MemoryT>
struct ChosenTokens {
  Vector<ComputeT, MemoryT> logits;   ///< [tokens]
  Vector<int, MemoryT> row_of;        ///< [tokens], -1: skipped
  Vector<int, MemoryT> tokens;        ///< [rows], -1: there were too few that are not padding
  Vector<ComputeT, MemoryT> gates;    ///< [rows]
  Vector<int, MemoryT> mask;          ///< [rows], the block's padding
  Vector<std::int64_t, MemoryT> ids;  ///< [rows], the block's token ids
  Matrix<StorageT, MemoryT> rows;     ///< [rows, hidden], the block's x
  Matrix<StorageT, MemoryT> results;  ///< [rows, hidden], the block's y
  RealTokens<MemoryT> real;
};

template <class T, class MemoryT>
Vector<T, MemoryT> first_elements(const Vector<T, MemoryT>& vector, int count) {
  return Vector<T, MemoryT>(vector.data(), count);
}

template <class XT, class T>
struct SkipLogits {
  XT x;
  const T* weight;
  T* logits;
  KOKKOS_FUNCTION void operator()(std::int64_t t) const { logits[t] = dot<T>(&x(t, 0), weight, int(x.extent(1))); }
};

/// The tokens of a sequence: the largest logit has the smallest key. Padding does not compete.
template <class T, class MemoryT>
struct LogitKeys {
  const T* logits;
  RealTokens<MemoryT> real;
  int first;
  KOKKOS_FUNCTION bool competes(std::int64_t i) const { return real.is_real(first + i); }
  KOKKOS_FUNCTION auto operator()(std::int64_t i) const { return radix::descending_key(logits[first + i]); }
};

/// For a sequence: its best tokens get rows, in the order of tokens.
template <class T, class MemoryT>
struct ChooseTokens {
  SkipMap map;
  const T* logits;
  RealTokens<MemoryT> real;
  int* row_of;
  int* tokens;

  KOKKOS_FUNCTION void operator()(std::int64_t sequence) const {
    const int begin = map.begin(int(sequence)), end = map.end(int(sequence)), places = map.places_of(int(sequence));
    const LogitKeys<T, MemoryT> keys{logits, real, begin};
    const auto cut = radix::select_smallest(keys, end - begin, places);
    int row = map.first_row(int(sequence));
    const int last_row = row + places;
    for (int t = begin; t < end; ++t) {
      const bool chosen = keys.competes(t - begin) && cut.holds(keys(t - begin), t - begin);
      row_of[t] = chosen ? row : -1;
      if (chosen) tokens[row++] = t;
    }
    while (row < last_row) tokens[row++] = -1;
  }
};

/// For a row: the gate of its token, and whether it has one.
template <class ChosenT, class GateT>
struct GateRows {
  ChosenT chosen;
  [[no_unique_address]] GateT gate;
  KOKKOS_FUNCTION void operator()(std::int64_t row) const {
    const int t = chosen.tokens(row);
    chosen.mask(row) = t >= 0 ? 1 : 0;
    chosen.gates(row) = 0;
    if (t >= 0) gate.forward(&chosen.logits(t), &chosen.gates(row), 1);
  }
};

/// ids[row] = the id of the row's token
template <class ChosenT, class IdsT>
struct GatherIds {
  ChosenT chosen;
  IdsT from;
  KOKKOS_FUNCTION void operator()(std::int64_t row) const {
    const int t = chosen.tokens(row);
    chosen.ids(row) = t < 0 ? 0 : std::int64_t(from(t));
  }
};

/// A part of a row that one work item writes.
struct RowChunk {
  static constexpr int columns = 64;
  int row;
  int begin;
  int end;
  KOKKOS_FUNCTION RowChunk(std::int64_t item, int width)
      : row(int(item / count(width))),
        begin(int(item % count(width)) * columns),
        end(Kokkos::min(begin + columns, width)) {}
  KOKKOS_FUNCTION static int count(int width) { return (width + columns - 1) / columns; }
};

/// rows[r] = x[token of r], times its gate if there are gates; 0 where there is no token
template <class FromT, class RowsT, class T>
struct GatherTokens {
  FromT from;
  RowsT rows;
  const int* tokens;
  const T* gates;  ///< nullptr: copied
  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    using Storage = typename RowsT::non_const_value_type;
    const RowChunk chunk(item, int(rows.extent(1)));
    const int t = tokens[chunk.row];
    const T gate = gates ? gates[chunk.row] : T(1);
    for (int c = chunk.begin; c < chunk.end; ++c) {
      rows(chunk.row, c) = Storage(t < 0 ? T(0) : gate * T(from(t, c)));
    }
  }
};

/// y[t] = gate * results[row of t]; 0 for what is skipped
template <class ChosenT, class YT>
struct ScatterResults {
  ChosenT chosen;
  YT y;
  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    using Storage = typename YT::non_const_value_type;
    using T = typename decltype(chosen.gates)::non_const_value_type;
    const RowChunk chunk(item, int(y.extent(1)));
    const int row = chosen.row_of(chunk.row);
    for (int c = chunk.begin; c < chunk.end; ++c) {
      y(chunk.row, c) = Storage(row < 0 ? T(0) : chosen.gates(row) * T(chosen.results(row, c)));
    }
  }
};

/// d_logits[row], out of the gate's gradient <dy, result>
template <class ChosenT, class GateT, class DyT, class T>
struct SkipGateBackward {
  ChosenT chosen;
  [[no_unique_address]] GateT gate;
  DyT dy;
  T* d_logits;
  KOKKOS_FUNCTION void operator()(std::int64_t row) const {
    const int t = chosen.tokens(row);
    d_logits[row] = 0;
    if (t < 0) return;
    const T d_gate = dot<T>(&dy(t, 0), &chosen.results(row, 0), int(dy.extent(1)));
    gate.backward(&chosen.logits(t), &chosen.gates(row), &d_gate, &d_logits[row], 1);
  }
};

/// dx[t] = d_rows[row of t] + d_logit * w; 0 for what is skipped
template <class ChosenT, class RowsT, class DxT, class T>
struct ScatterGradient {
  ChosenT chosen;
  RowsT d_rows;
  DxT dx;
  const T* d_logits;
  const T* weight;
  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    using Storage = typename DxT::non_const_value_type;
    const RowChunk chunk(item, int(dx.extent(1)));
    const int row = chosen.row_of(chunk.row);
    for (int c = chunk.begin; c < chunk.end; ++c) {
      dx(chunk.row, c) = Storage(row < 0 ? T(0) : T(d_rows(row, c)) + d_logits[row] * weight[c]);
    }
  }
};

template <class RowsT, class T>
struct SkipWeightTerm {
  RowsT rows;
  const T* d_logits;
  KOKKOS_FUNCTION T operator()(std::int64_t row, std::int64_t c) const { return d_logits[row] * T(rows(row, c)); }
};

}  // namespace detail

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
    expect_mine("workspace", workspace);
    run(exec, p, inputs_of<ExecT>(x, workspace.max_tokens), y, workspace.chosen, workspace.inner);
  }
  template <class ExecT, class XT, class YT, class TapeT, class WorkspaceT>
  void forward(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const YT& y, TapeT& tape,
               WorkspaceT& workspace) const {
    expect_mine("tape", tape);
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
    expect_mine("parameters", p.weight);
    expect_mine("tape", tape);
    expect_mine("workspace", workspace);
    if (!g.weight.empty()) expect_mine("gradients", g.weight);
    detail::expect(tape.num_tokens >= 0, "moe::TokenSkip::backward",
                   "the tape holds no forward pass; call forward(exec, parameters, x, y, tape, workspace) first");
    detail::expect(workspace.use == Use::training, "moe::TokenSkip::backward",
                   "the workspace was made for inference; make it with Use::training");
    const int tokens = tape.num_tokens, rows = this->rows(tokens);
    detail::expect_at_most("moe::TokenSkip::backward", "tokens (max_tokens of the workspace)", workspace.max_tokens,
                           tokens);
    const ConstRows d_out =
        detail::checked_matrix<const storage, memory>("moe::TokenSkip::backward, dy", dy, tokens, hidden());
    const Rows d_in = detail::checked_matrix<storage, memory>("moe::TokenSkip::backward, dx", dx, tokens, hidden());
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
    tape.made_for = made_for(max_tokens);
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
    w.made_for = made_for(max_tokens);
    if (use == Use::inference) return w;
    w.d_logits = arena.template vector<compute>(most);
    w.column_sum = detail::ColumnSum<compute>(arena, most, hidden());
    return w;
  }

 private:
  /// Of a tape or workspace.
  detail::MadeFor made_for(int max_tokens) const {
    return {{hidden(), max_tokens, places(max_tokens), options_.sequence_length}};
  }
  template <class T, class MemoryT>
  void expect_mine(const char* what, const Tensor<T, MemoryT>& weight) const {
    detail::expect_made_for("moe::TokenSkip", what, "1, hidden", {{1, hidden()}}, detail::made_for(weight));
  }
  template <class MadeT>
  void expect_mine(const char* what, const MadeT& made) const {
    detail::expect_made_for("moe::TokenSkip", what, "hidden, max_tokens, places, sequence_length",
                            made_for(made.max_tokens), made.made_for);
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
    expect_mine("parameters", p.weight);
    const int tokens = int(in.x.extent(0));
    const Rows out = detail::checked_matrix<storage, memory>("moe::TokenSkip::forward, y", y, tokens, hidden());
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
