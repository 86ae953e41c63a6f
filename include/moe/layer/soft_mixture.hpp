#pragma once

#include <moe/core/error.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/made_for.hpp>
#include <moe/core/precision.hpp>
#include <moe/core/reduce.hpp>
#include <moe/core/requirements.hpp>
#include <moe/core/shape.hpp>
#include <moe/gemm/best_engine.hpp>
#include <moe/gemm/epilogue.hpp>
#include <moe/layer/block.hpp>
#include <moe/layer/mix_rows.hpp>
#include <moe/layer/real_tokens.hpp>
#include <moe/layer/soft_logits.hpp>
#include <moe/layer/soft_weights.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

namespace moe {

/// The slots of a soft mixture.
struct SoftSlots {
  int per_expert = 1;       ///< slots of an expert; 0: round(sequence_length * factor / experts), half to even
  double factor = 1;        ///< slots of all experts for each token of a sequence, where per_expert is 0
  int sequence_length = 0;  ///< tokens that share slots; the last sequence may be shorter; 0: the whole batch is one
};

namespace detail {

/// offsets[e]: the first row of expert e.
struct SlotOffsets {
  SlotMap map;
  int* offsets;
  KOKKOS_FUNCTION void operator()(std::int64_t e) const { offsets[e] = int(e) * map.expert_rows(); }
};

}  // namespace detail

/// A soft mixture of experts: every slot of an expert is a weighted mean of tokens, every token's result a weighted mean
/// of all slots' results. Nothing is chosen and nothing dropped. Within each sequence
///
///     z[t, s]        = <x_t / |x_t|, scale * phi_s / |phi_s|>        |v| = sqrt(<v, v> + 1e-6)
///     dispatch[t, s] = softmax of z over the sequence's tokens
///     combine[t, s]  = softmax of z over all slots
///     y_t            = sum_s combine[t, s] * expert of s(sum_u dispatch[u, s] * x_u)
///
/// (Puigcerver et al. 2023; google-research/vmoe, projects/soft_moe/router.py, without its optional noise.)
///
///     moe::SoftMixture block{moe::Shape<>{.experts = 128, .hidden = 384, .intermediate = 1536}, moe::Mlp<moe::Gelu>{},
///                            moe::SoftSlots{.per_expert = 1, .sequence_length = 196}};
///
/// It is not causal: a token's result depends on all tokens of its sequence, later ones too, and on how many there are.
/// So it is for encoders; a decoder's tokens would see their future. Likewise one NaN in a token makes the results of
/// its whole sequence NaN, but touches no other sequence.
///
/// Tensors: "phi" [hidden, experts * slots of an expert] and "scale" [1] in the type that is computed in, and the
/// experts' own. phi is normal with variance 1 / hidden (the published code's lecun_normal divides by the experts too,
/// which its normalisation undoes), the scale starts at one. The experts get their rows rounded to the storage type.
///
/// Padding is in no slot, and gets y = 0; a sequence that is nothing but padding gives its experts zeros. There are no
/// losses: `visit` finds nothing here.
///
/// Memory is quadratic as attention's is: tape and workspace hold six matrices [tokens, slots] between them.
template <class ShapeT, class ExpertT, class PrecisionT = Precision<>, class EngineT = BestEngine>
class SoftMixture : public Block<SoftMixture<ShapeT, ExpertT, PrecisionT, EngineT>> {
  static_assert(is_precision_v<PrecisionT>,
                "moe: the fourth argument of SoftMixture is its precision, after shape, expert and slots: "
                "moe::Precision<double>{}");
  static_assert(detail::ChoosesEngine<EngineT>,
                "moe: the fifth argument of SoftMixture chooses its engine: moe::BestEngine{} or moe::PortableTeams{}");
  using Scalars = std::conditional_t<is_precision_v<PrecisionT>, PrecisionT, Precision<>>;

 public:
  using precision = Scalars;
  using storage = typename Scalars::storage;
  using compute = typename Scalars::compute;

  template <class ExecT>
  using TypesOf = Types<ExecT, ShapeT, Scalars, typename EngineT::template type<ExecT, compute>>;

  template <class TypesT>
  struct Tensors {
    using memory = typename TypesT::memory;
    Tensor<compute, memory, typename TypesT::engine::Layout> phi;  ///< [hidden, slots]
    Tensor<compute, memory> scale;                                 ///< [1]
    detail::ParametersOf<ExpertT, TypesT> experts;
    detail::MadeFor made_for{};

    template <class F, class... TreesT>
    static void for_each(F&& f, TreesT&... trees) {
      f(trees.phi...);
      f(trees.scale...);
      decltype(experts)::for_each(f, trees.experts...);
    }
  };
  template <class ExecT>
  using Parameters = Tensors<TypesOf<ExecT>>;
  template <class ExecT>
  using Gradients = Tensors<typename TypesOf<ExecT>::gradients>;

  /// What a forward pass makes and backward needs.
  template <class ExecT>
  struct Mixture {
    using memory = typename ExecT::memory_space;

    Matrix<compute, memory> cosines;      ///< [tokens, slots], padded: z / scale
    Vector<compute, memory> token_norms;  ///< [tokens], 1 / |x_t|
    Vector<compute, memory> slot_norms;   ///< [slots], padded with zeros: 1 / |phi_s|
    Matrix<storage, memory> inputs;       ///< [rows, hidden], padded: of the experts
    Matrix<storage, memory> results;      ///< [rows, hidden], padded: of the experts
    detail::RealTokens<memory> real;
  };
  template <class ExecT>
  struct Tape {
    Mixture<ExecT> mixture;
    detail::TapeOf<ExpertT, TypesOf<ExecT>> experts;
    Matrix<const storage, typename ExecT::memory_space> x;  ///< the caller's: it must live until backward
    int max_tokens = 0;
    detail::MadeFor made_for{};
  };
  template <class ExecT>
  struct Workspace {
    using memory = typename ExecT::memory_space;

    typename TypesOf<ExecT>::engine engine;
    Mixture<ExecT> mixture;  ///< of a forward pass without tape; in backward its rows are those of the gradients
    detail::SoftWeights<compute, memory> weights;
    Vector<int, memory> offsets;  ///< [experts + 1]
    detail::WorkspaceOf<ExpertT, TypesOf<ExecT>> experts;
    Vector<compute, memory> d_gate_rows;
    Vector<compute, memory> pull;  ///< [tokens]
    Vector<compute, memory> dots;  ///< [slots]
    detail::ColumnSum<compute> column_sum;
    int max_tokens = 0;
    Use use = Use::training;
    detail::MadeFor made_for{};
  };

  /// \throws Error if a size is not positive, if the slots are not, or if they are more than an int counts; or if the
  ///         expert cannot do with these sizes.
  explicit SoftMixture(const ShapeT& shape, const ExpertT& expert = {}, const SoftSlots& slots = {},
                       const PrecisionT& = {}, const EngineT& = {})
      : shape_(shape), expert_(expert), slots_(slots) {
    detail::expect_positive(shape_);
    if constexpr (requires { expert_.check(shape_); }) expert_.check(shape_);
    detail::expect_at_least("moe::SoftMixture", "sequence_length", 0, slots.sequence_length);
    detail::expect_at_least("moe::SoftMixture", "slots per_expert (0: by the factor)", 0, slots.per_expert);
    if (slots.per_expert == 0) {
      detail::expect(slots.sequence_length > 0, "moe::SoftMixture",
                     "without slots per_expert, their number comes from sequence_length, which is 0; give one of them");
      detail::expect(slots.factor > 0, "moe::SoftMixture", "expected factor > 0");
      const double share = std::nearbyint(slots.sequence_length * slots.factor / int(shape_.experts));
      slots_.per_expert = int(std::min(share, double(std::numeric_limits<int>::max())));
      detail::expect_at_least("moe::SoftMixture", "slots of an expert, round(sequence_length * factor / experts)", 1,
                              slots_.per_expert);
    }
    detail::expect_at_most("moe::SoftMixture", "slots of all experts", std::numeric_limits<int>::max() / 2,
                           std::int64_t(shape_.experts) * slots_.per_expert);
  }

  const ShapeT& shape() const { return shape_; }
  const ExpertT& expert() const { return expert_; }
  int hidden() const { return shape_.hidden; }
  int slots_per_expert() const { return slots_.per_expert; }
  /// Slots of all experts, in each sequence.
  int slots() const { return shape_.experts * slots_.per_expert; }
  int sequence_length() const { return slots_.sequence_length; }
  /// The same mixture, whose experts' matrices are stored as WeightT; see moe::quantised.
  template <class WeightT, class RowT = ExactRows>
  auto with_weights() const {
    return SoftMixture<ShapeT, ExpertT, Precision<storage, WeightT, RowT>, EngineT>(shape_, expert_, slots_);
  }

  template <class ExecT, class XT, class YT, class WorkspaceT>
  void forward(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const YT& y, WorkspaceT& workspace) const {
    const auto in = inputs_of<ExecT>(x, workspace.max_tokens);
    run(exec, p, in, y, workspace.mixture, NoTape{}, workspace);
  }
  template <class ExecT, class XT, class YT, class TapeT, class WorkspaceT>
  void forward(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const YT& y, TapeT& tape,
               WorkspaceT& workspace) const {
    run_sizes().expect_mine("tape", tape.made_for);
    const auto in = inputs_of<ExecT>(x, std::min(tape.max_tokens, workspace.max_tokens));
    tape.x = in.x;
    run(exec, p, in, y, tape.mixture, tape.experts, workspace);
  }

  template <class ExecT, class TapeT, class DyT, class DxT, class WorkspaceT>
  void backward(const ExecT& exec, const Parameters<ExecT>& p, const TapeT& tape, const DyT& dy, const DxT& dx,
                const Gradients<ExecT>& g, WorkspaceT& workspace, const Backward& options = {}) const {
    static_assert(detail::expert_can_train<ExpertT, TypesOf<ExecT>>());
    const std::string& slots_label = detail::kernel_label<"moe::soft_mixture::d_slots">;
    const std::string& weights_label = detail::kernel_label<"moe::soft_mixture::d_weights">;
    const std::string& tokens_label = detail::kernel_label<"moe::soft_mixture::d_tokens">;
    using memory = typename ExecT::memory_space;
    using Values = Matrix<compute, memory>;
    using Rows = Matrix<storage, memory>;
    using ConstRows = Matrix<const storage, memory>;
    sizes().expect_mine("parameters", p.made_for);
    run_sizes().expect_mine("tape", tape.made_for);
    run_sizes().expect_mine("workspace", workspace.made_for);
    sizes().expect_mine_or_none("gradients", g.made_for);
    detail::expect_forward("moe::SoftMixture::backward", tape.x);
    const int tokens = int(tape.x.extent(0));
    detail::expect(workspace.use == Use::training, "moe::SoftMixture::backward",
                   "the workspace was made for inference; make it with Use::training");
    detail::expect_at_most("moe::SoftMixture::backward", "tokens (max_tokens of the workspace)", workspace.max_tokens,
                           tokens);
    const ConstRows d_out =
        detail::checked_matrix<const storage, memory>("moe::SoftMixture::backward, dy", dy, tokens, hidden());
    const Rows d_in =
        detail::checked_matrix<storage, memory>("moe::SoftMixture::backward, dx", dx, tokens, hidden(), d_out);
    const Mixture<ExecT>& mixture = tape.mixture;
    const auto& weights = workspace.weights;
    const detail::SlotMap map = this->map(tokens);
    const auto logits = this->logits(p, mixture, map);
    const Rows d_results = workspace.mixture.inputs, d_inputs = workspace.mixture.results;

    weights.make(exec, logits);
    detail::mix_rows(exec, slots_label, hidden(),
                     detail::TokensToSlots<Values, ConstRows, Rows>{map, weights.combine, d_out, d_results});
    set_offsets(exec, map, workspace);
    expert_.backward(context(exec, map, workspace), p.experts, tape.experts, segments(map, workspace),
                     source(mixture.inputs), source(d_results), workspace.d_gate_rows, d_inputs, g.experts, options,
                     workspace.experts);

    using Dots = detail::DotTokensAndSlots<ConstRows, Rows, Values>;
    const Dots combine_dots{map, hidden(), d_out, mixture.results, weights.d_combine};
    const Dots dispatch_dots{map, hidden(), tape.x, d_inputs, weights.d_dispatch};
    detail::launch(exec, weights_label, combine_dots.items(), combine_dots);
    detail::launch(exec, weights_label, dispatch_dots.items(), dispatch_dots);
    const Values d_z = weights.backward(exec, logits);
    const Values d_products = weights.d_dispatch;  // which has been used
    detail::launch(exec, weights_label, tokens,
                   detail::SoftProductGradient<compute, memory>{logits, d_z, d_products, mixture.token_norms.data(),
                                                                mixture.slot_norms.data(), workspace.pull.data()});
    backward_parameters(exec, p, g, tape, logits, d_z, d_products, workspace, options);

    using Pull = detail::FromPull<compute, ConstRows>;
    detail::mix_rows(exec, tokens_label, hidden(),
                     detail::SlotsToTokens<Values, Rows, Rows, detail::RealTokens<memory>, Pull>{
                         map, weights.dispatch, d_inputs, d_in, mixture.real, Pull{workspace.pull.data(), tape.x}});
    workspace.engine.forward(exec, tokens_label, Segments{.max_rows = tokens},
                             scaled(source(d_products), mixture.token_norms), p.phi.weights(),
                             detail::AddToRows<storage>{{d_in.data(), std::int64_t(d_in.stride(0)), hidden()}});
  }

  template <class ExecT, class TapeT>
  void update(const ExecT&, const Parameters<ExecT>&, TapeT&) const {}
  template <class TapeT, class F>
  void visit(TapeT&, F&&) const {}

  template <class MakerT>
  auto make_parameters(const MakerT& maker) const {
    using ExecT = typename MakerT::exec;
    using types = typename MakerT::template types<TypesOf<ExecT>>;
    using Layout = typename types::engine::Layout;
    static_assert(detail::expert_is_complete<ExpertT, TypesOf<ExecT>>());
    const int n = slots();
    return Tensors<types>{
        maker.template make<compute, Layout>({"phi", {hidden(), n}, 1, {1, hidden(), n}},
                                             Normal{1 / std::sqrt(double(hidden()))}),
        maker.template make<compute, RowMajor>({"scale", {1}, 1, {1, 1, 1}, {.decay = false}}, Ones{}),
        expert_.template parameters<types>(maker.in("experts"), shape_), sizes().made_for};
  }

  template <class ExecT, class ArenaT>
  Tape<ExecT> make_tape(const ExecT&, ArenaT& arena, int max_tokens) const {
    Tape<ExecT> tape;
    tape.mixture = cut_mixture<ExecT>(arena, max_tokens);
    tape.experts = expert_.template tape<TypesOf<ExecT>>(arena, shape_, map(max_tokens).rows());
    tape.max_tokens = max_tokens;
    tape.made_for = run_sizes().made_for;
    return tape;
  }

  template <class ExecT, class ArenaT>
  Workspace<ExecT> make_workspace(const ExecT& exec, ArenaT& arena, int max_tokens, Use use) const {
    using types = TypesOf<ExecT>;
    const detail::SlotMap most = map(max_tokens);
    Workspace<ExecT> w;
    const EngineLimits products{.rows = max_tokens, .columns = std::max(hidden(), slots())};
    w.engine = typename types::engine(exec, arena, products.max(expert_.limits(shape_, most.rows())));
    w.mixture = cut_mixture<ExecT>(arena, max_tokens);
    w.weights = {arena, most, use == Use::training};
    w.offsets = arena.template vector<int>(shape_.experts + 1);
    w.experts = expert_.template workspace<types>(arena, shape_, most.rows(), use);
    w.max_tokens = max_tokens;
    w.use = use;
    w.made_for = run_sizes().made_for;
    if (use == Use::inference) return w;
    w.d_gate_rows = arena.template vector<compute>(most.rows());
    w.pull = arena.template vector<compute>(max_tokens);
    w.dots = arena.template vector<compute>(slots());
    w.column_sum = detail::ColumnSum<compute>(arena, max_tokens, slots());
    return w;
  }

 private:
  detail::OwnSizes sizes() const {
    return {"moe::SoftMixture",
            "experts, hidden, intermediate, slots",
            {{shape_.experts, shape_.hidden, shape_.intermediate, slots()}}};
  }
  /// Of a tape or workspace.
  detail::OwnSizes run_sizes() const {
    return {"moe::SoftMixture",
            "experts, hidden, intermediate, slots, sequence_length",
            {{shape_.experts, shape_.hidden, shape_.intermediate, slots(), sequence_length()}}};
  }

  detail::SlotMap map(int tokens) const {
    const int most = std::max(tokens, 1);
    const int length = slots_.sequence_length == 0 ? most : std::min(slots_.sequence_length, most);
    const std::int64_t sequences = (tokens + std::int64_t(length) - 1) / length;
    detail::expect_at_most("moe::SoftMixture", "rows of the experts, sequences * slots",
                           std::numeric_limits<int>::max() / 2, sequences * slots());
    return {tokens, length, shape_.experts, slots_.per_expert};
  }

  template <class ExecT, class ArenaT>
  Mixture<ExecT> cut_mixture(ArenaT& arena, int max_tokens) const {
    const int rows = map(max_tokens).rows(), slot_columns = padded<compute>(slots()),
              columns = padded<storage>(hidden());
    return {arena.template matrix<compute>(max_tokens, slot_columns),
            arena.template vector<compute>(max_tokens),
            arena.template vector<compute>(slot_columns),
            arena.template matrix<storage>(rows, columns),
            arena.template matrix<storage>(rows, columns),
            {arena.template vector<int>(max_tokens), false}};
  }

  template <class ExecT, class XT>
  auto inputs_of(const XT& x, int max_tokens) const {
    return detail::checked_inputs<storage, typename ExecT::memory_space>("moe::SoftMixture::forward", x, hidden(),
                                                                         max_tokens);
  }
  template <class ViewT>
  static auto source(const ViewT& rows) {
    return RowSource<typename ViewT::non_const_value_type, compute>{.data = rows.data(),
                                                                    .stride = std::int64_t(rows.stride(0))};
  }
  template <class SourceT, class ScalesT>
  static SourceT scaled(SourceT rows, const ScalesT& scales) {
    rows.scale = scales.data();
    return rows;
  }
  template <class ExecT, class WorkspaceT>
  Context<TypesOf<ExecT>> context(const ExecT& exec, const detail::SlotMap& map, const WorkspaceT& workspace) const {
    return {exec, shape_, workspace.engine, map.rows()};
  }
  template <class WorkspaceT>
  Segments segments(const detail::SlotMap& map, const WorkspaceT& workspace) const {
    return {workspace.offsets.data(), shape_.experts, map.rows()};
  }
  template <class ParametersT, class MixtureT>
  static auto logits(const ParametersT& p, const MixtureT& mixture, const detail::SlotMap& map) {
    return detail::SoftLogits<compute, typename MixtureT::memory>{map, mixture.cosines, p.scale.storage.data(),
                                                                  mixture.real};
  }
  template <class ExecT, class WorkspaceT>
  void set_offsets(const ExecT& exec, const detail::SlotMap& map, const WorkspaceT& workspace) const {
    const std::string& label = detail::kernel_label<"moe::soft_mixture::offsets">;
    detail::launch(exec, label, shape_.experts + 1, detail::SlotOffsets{map, workspace.offsets.data()});
  }

  template <class ExecT, class InputsT, class YT, class TapeT, class WorkspaceT>
  void run(const ExecT& exec, const Parameters<ExecT>& p, const InputsT& in, const YT& y, Mixture<ExecT>& mixture,
           const TapeT& experts_tape, const WorkspaceT& workspace) const {
    const std::string& label = detail::kernel_label<"moe::soft_mixture::forward">;
    const std::string& logits_label = detail::kernel_label<"moe::soft_mixture::logits">;
    using memory = typename ExecT::memory_space;
    using Values = Matrix<compute, memory>;
    using Rows = Matrix<storage, memory>;
    using Layout = typename TypesOf<ExecT>::engine::Layout;
    sizes().expect_mine("parameters", p.made_for);
    run_sizes().expect_mine("workspace", workspace.made_for);
    const int tokens = int(in.x.extent(0));
    const Rows out =
        detail::checked_matrix<storage, memory>("moe::SoftMixture::forward, y", y, tokens, std::size_t(hidden()), in.x);
    const detail::SlotMap map = this->map(tokens);
    mixture.real.note(exec, "moe::SoftMixture::forward", in);

    detail::launch(exec, logits_label, tokens,
                   detail::TokenNorms<compute, decltype(in.x)>{in.x, mixture.token_norms.data()});
    detail::launch(
        exec, logits_label, slots(),
        detail::SlotNorms<compute, Layout>{{p.phi.storage.data(), p.phi.extents()}, mixture.slot_norms.data()});
    workspace.engine.backward_rows(
        exec, logits_label, Segments{.max_rows = tokens}, scaled(source(in.x), mixture.token_norms), p.phi.weights(),
        detail::StoreScaledColumns<compute>{{mixture.cosines.data(), std::int64_t(mixture.cosines.stride(0))},
                                            mixture.slot_norms.data()});
    workspace.weights.make(exec, logits(p, mixture, map));

    detail::mix_rows(
        exec, label, hidden(),
        detail::TokensToSlots<Values, decltype(in.x), Rows>{map, workspace.weights.dispatch, in.x, mixture.inputs});
    set_offsets(exec, map, workspace);
    expert_.forward(context(exec, map, workspace), p.experts, segments(map, workspace), source(mixture.inputs),
                    mixture.results, experts_tape, workspace.experts);
    using Zero = detail::FromZero<compute>;
    detail::mix_rows(exec, label, hidden(),
                     detail::SlotsToTokens<Values, Rows, Rows, detail::RealTokens<memory>, Zero>{
                         map, workspace.weights.combine, mixture.results, out, mixture.real, Zero{}});
  }

  /// The gradients of phi and scale.
  template <class ExecT, class TapeT, class LogitsT, class ValuesT, class WorkspaceT>
  void backward_parameters(const ExecT& exec, const Parameters<ExecT>& p, const Gradients<ExecT>& g, const TapeT& tape,
                           const LogitsT& logits, const ValuesT& d_z, const ValuesT& d_products,
                           const WorkspaceT& workspace, const Backward& options) const {
    const std::string& label = detail::kernel_label<"moe::soft_mixture::d_parameters">;
    using memory = typename ExecT::memory_space;
    using Layout = typename TypesOf<ExecT>::engine::Layout;
    if (g.phi.empty() && g.scale.empty()) return;
    const int tokens = logits.map.tokens;
    workspace.column_sum(exec, label, tokens, slots(), detail::CosineTerm<compute, memory>{d_z, logits.cosines},
                         detail::StoreSum<compute>{workspace.dots.data(), false});
    if (!g.scale.empty()) {
      detail::launch(
          exec, label, 1,
          detail::ScaleGradient<compute>{workspace.dots.data(), slots(), g.scale.storage.data(), options.accumulate});
    }
    if (g.phi.empty()) return;
    workspace.engine.backward_weights(exec, label, Segments{.max_rows = tokens},
                                      scaled(source(tape.x), tape.mixture.token_norms), source(d_products),
                                      g.phi.mutable_weights(), options.accumulate);
    detail::launch(exec, label, g.phi.size(),
                   detail::PullPhi<compute, Layout>{{p.phi.storage.data(), p.phi.extents()},
                                                    g.phi.access(),
                                                    tape.mixture.slot_norms.data(),
                                                    workspace.dots.data(),
                                                    logits.scale});
  }

  [[no_unique_address]] ShapeT shape_;
  [[no_unique_address]] ExpertT expert_;
  SoftSlots slots_;
};

}  // namespace moe
