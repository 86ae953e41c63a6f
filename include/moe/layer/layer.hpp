#pragma once

#include <moe/core/balancing.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/made_for.hpp>
#include <moe/core/precision.hpp>
#include <moe/core/reduce.hpp>
#include <moe/core/requirements.hpp>
#include <moe/core/routing.hpp>
#include <moe/core/shape.hpp>
#include <moe/gemm/best_engine.hpp>
#include <moe/layer/block.hpp>
#include <moe/layer/padding.hpp>
#include <moe/layer/statistics.hpp>

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace moe {

struct Dropless;

namespace detail {

template <class T>
struct Zero {
  T* data;
  KOKKOS_FUNCTION void operator()(std::int64_t i) const { data[i] = T(0); }
};

}  // namespace detail

/// A mixture-of-experts layer: y[t] = sum over the chosen experts of gate * expert(x[t]).
///
/// \tparam ShapeT       sizes, static or dynamic: Shape<64, 512, 1024>, Shape<>
/// \tparam RouterT      which experts, with which gates: SoftmaxTopK<8>
/// \tparam ExpertT      what an expert computes: SwiGlu
/// \tparam BalancerT    what keeps the load even in training: SwitchLoss, Balance<...>; NoBalance
/// \tparam DispatcherT  how rows go to experts and back: Dropless
/// \tparam PrecisionT   scalar types: Precision<float>
/// \tparam EngineT      who multiplies: BestEngine, or PortableTeams for the plain one
///
/// The head is not constrained: each member that a policy lacks is a sentence of its own, once the layer is used.
template <class ShapeT, class RouterT, class ExpertT, class BalancerT = NoBalance, class DispatcherT = Dropless,
          class PrecisionT = Precision<>, class EngineT = BestEngine>
class Layer : public Block<Layer<ShapeT, RouterT, ExpertT, BalancerT, DispatcherT, PrecisionT, EngineT>> {
  static_assert(!is_precision_v<BalancerT>,
                "moe: the fourth argument of Layer is a balancer; write moe::NoBalance{} before dispatcher and "
                "precision where there is none");
  static_assert(is_precision_v<PrecisionT>,
                "moe: the sixth argument of Layer is its precision, after shape, router, expert, balancer and "
                "dispatcher: moe::Precision<double>{}");
  static_assert(detail::ChoosesEngine<EngineT>,
                "moe: the seventh argument of Layer chooses its engine: moe::BestEngine{} or moe::PortableTeams{}");
  using Scalars = std::conditional_t<is_precision_v<PrecisionT>, PrecisionT, Precision<>>;

 public:
  using precision = Scalars;
  using storage = typename Scalars::storage;
  using compute = typename Scalars::compute;
  static constexpr int num_mixtures = 1;

  template <class ExecT>
  using TypesOf = Types<ExecT, ShapeT, Scalars, typename EngineT::template type<ExecT, compute>>;

  /// Parameters, or their gradients. Whoever assembles parameters by hand passes made_for on, by which the layer knows
  /// its own: {p.router, p.experts, p.made_for}.
  template <class TypesT>
  struct Tensors {
    detail::ParametersOf<RouterT, TypesT> router;
    detail::ParametersOf<ExpertT, TypesT> experts;
    detail::MadeFor made_for{};

    template <class F, class... TreesT>
    static void for_each(F&& f, TreesT&... trees) {
      decltype(router)::for_each(f, trees.router...);
      decltype(experts)::for_each(f, trees.experts...);
    }
  };
  template <class ExecT>
  using Parameters = Tensors<TypesOf<ExecT>>;
  template <class ExecT>
  using Gradients = Tensors<typename TypesOf<ExecT>::gradients>;

  template <class ExecT>
  struct Tape {
    using memory = typename ExecT::memory_space;

    Vector<compute, memory> losses;   ///< the balancers' losses of the last forward pass, weighted, as in loss_names()
    Vector<int, memory> load;         ///< [experts], assignments since the last update
    Vector<int, memory> dropped;      ///< [1], assignments without a place since the last update
    Vector<int, memory> non_finite;   ///< [1], tokens with a NaN or infinite logit since the last update
    Vector<int, memory> tokens;       ///< [1], tokens since the last update, without padding
    Vector<compute, memory> entropy;  ///< [1], the sum over them of the entropy of the scores, in nats
    Routing<TypesOf<ExecT>> routing;  ///< of the last forward pass
    Plan<TypesOf<ExecT>> plan;        ///< of the last forward pass

    detail::TapeOf<RouterT, TypesOf<ExecT>> router;
    detail::TapeOf<ExpertT, TypesOf<ExecT>> experts;
    Matrix<const storage, memory> x;  ///< the caller's: it must live until backward
    int max_tokens = 0;
    detail::MadeFor made_for{};
  };

  template <class ExecT>
  struct Workspace {
    using memory = typename ExecT::memory_space;
    using types = TypesOf<ExecT>;

    typename types::engine engine;
    Routing<types> routing;
    Plan<types> plan;
    Matrix<storage, memory> rows;  ///< the experts' results, and in backward the gradients of their inputs
    detail::WorkspaceOf<RouterT, types> router;
    detail::WorkspaceOf<ExpertT, types> experts;
    detail::WorkspaceOf<DispatcherT, types> dispatcher;
    detail::balancing::Workspace<types, BalancerT> balancer;
    detail::ColumnSum<int> count;
    detail::ColumnSum<compute> entropy;
    Matrix<compute, memory> d_gates;
    Matrix<compute, memory> d_scores;
    Matrix<compute, memory> d_logits;
    Vector<compute, memory> d_gate_rows;
    int max_tokens = 0;
    Use use = Use::training;
    detail::MadeFor made_for{};
  };

  /// \throws Error if a size is not positive, or if router or expert cannot do with these.
  explicit Layer(const ShapeT& shape, const RouterT& router = {}, const ExpertT& expert = {},
                 const BalancerT& balancer = {}, const DispatcherT& dispatcher = {}, const PrecisionT& = {},
                 const EngineT& = {})
      : shape_(shape), router_(router), expert_(expert), balancer_(balancer), dispatcher_(dispatcher) {
    detail::expect_positive(shape_);
    if constexpr (requires { router_.check(shape_); }) router_.check(shape_);
    if constexpr (requires { expert_.check(shape_); }) expert_.check(shape_);
  }

  const ShapeT& shape() const { return shape_; }
  const RouterT& router() const { return router_; }
  const ExpertT& expert() const { return expert_; }
  const BalancerT& balancer() const { return balancer_; }
  const DispatcherT& dispatcher() const { return dispatcher_; }
  int hidden() const { return shape_.hidden; }
  int slots() const { return router_.slots(shape_); }
  /// The same layer, whose experts' matrices are stored as WeightT; see moe::quantised.
  template <class WeightT, class RowT = ExactRows>
  auto with_weights() const {
    return Layer<ShapeT, RouterT, ExpertT, BalancerT, DispatcherT, Precision<storage, WeightT, RowT>, EngineT>(
        shape_, router_, expert_, balancer_, dispatcher_);
  }
  static std::vector<std::string> loss_names() { return detail::balancing::loss_names<BalancerT>(); }

  // ---- the whole ----------------------------------------------------------------------------------------------------

  /// y = the layer of x; both [tokens, hidden]. For inference: keeps nothing.
  template <class ExecT, class XT, class YT, class WorkspaceT>
  void forward(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const YT& y, WorkspaceT& workspace) const {
    const auto in = inputs_of<ExecT>("moe::Layer::forward", x, workspace.max_tokens);
    const int tokens = int(in.x.extent(0));
    const auto routing = workspace.routing.first(tokens);
    const auto plan = workspace.plan.first(tokens);
    route(exec, p, in, routing, workspace);
    this->plan(exec, routing, plan, workspace);
    apply(exec, p, in, routing, plan, y, workspace);
  }

  /// The same, and keeps on the tape what backward needs, the losses and the statistics.
  template <class ExecT, class XT, class YT, class TapeT, class WorkspaceT>
  void forward(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const YT& y, TapeT& tape,
               WorkspaceT& workspace) const {
    expect_training("moe::Layer::forward", workspace);
    const auto in = inputs_of<ExecT>("moe::Layer::forward", x, std::min(tape.max_tokens, workspace.max_tokens));
    const int tokens = int(in.x.extent(0));
    run_sizes(tape.max_tokens).expect_mine("tape", tape.made_for);
    tape.routing.has_padding = has_side_v<Padding, decltype(in)>;
    const auto routing = tape.routing.first(tokens);
    const auto plan = tape.plan.first(tokens);
    const auto context = this->context<ExecT>(exec, workspace, tokens);
    tape.x = in.x;
    run_router(context, p, in, routing, tape.router, workspace);
    this->plan(exec, routing, plan, workspace);
    run_experts(context, p, in, routing, plan, y, tape.experts, workspace);
    count(context, routing, plan, tape, workspace);
    detail::balancing::loss(balancer_, context, routing, plan, tape.losses.data(), workspace.balancer);
  }

  /// Gradients for the last forward pass on the tape: dx = d/dx and g = d/dp of <dy, y> + loss_scale * losses.
  /// Overwrites dx, and g unless it accumulates. A tensor that g lacks costs nothing.
  template <class ExecT, class TapeT, class DyT, class DxT, class WorkspaceT>
  void backward(const ExecT& exec, const Parameters<ExecT>& p, const TapeT& tape, const DyT& dy, const DxT& dx,
                const Gradients<ExecT>& g, WorkspaceT& workspace, const Backward& options = {}) const {
    static_assert(policies_can_train<ExecT>());
    using memory = typename ExecT::memory_space;
    const std::string& zero_label = detail::kernel_label<"moe::layer::zero">;
    const int tokens = int(tape.x.extent(0));
    expect_training("moe::Layer::backward", workspace);
    sizes().expect_mine("parameters", p.made_for);
    run_sizes(tape.max_tokens).expect_mine("tape", tape.made_for);
    sizes().expect_mine_or_none("gradients", g.made_for);
    detail::expect_forward("moe::Layer::backward", tape.x);
    detail::expect_at_most("moe::Layer::backward", "tokens (max_tokens of the workspace)", workspace.max_tokens,
                           tokens);
    const auto d_out = detail::checked_matrix<const storage, memory>("moe::Layer::backward, dy", dy, tokens, hidden());
    const auto d_in = detail::checked_matrix<storage, memory>("moe::Layer::backward, dx", dx, tokens, hidden(), d_out);
    const auto context = this->context<ExecT>(exec, workspace, tokens);
    const auto routing = tape.routing.first(tokens);
    const auto plan = tape.plan.first(tokens);
    const auto d_gates = detail::first_rows(workspace.d_gates, tokens);
    const auto d_scores = detail::first_rows(workspace.d_scores, tokens);
    const auto d_logits = detail::first_rows(workspace.d_logits, tokens);

    using Source = RowSource<storage, compute>;
    const Source x_rows{.data = tape.x.data(), .stride = std::int64_t(tape.x.stride(0)), .index = plan.tokens.data()};
    const Source dy_rows{.data = d_out.data(),
                         .stride = std::int64_t(d_out.stride(0)),
                         .index = plan.tokens.data(),
                         .scale = plan.gates.data()};
    expert_.backward(context, p.experts, tape.experts, plan.segments(max_rows(tokens)), x_rows, dy_rows,
                     workspace.d_gate_rows, workspace.rows, g.experts, options, workspace.experts);
    dispatcher_.combine_backward(context, plan, workspace.d_gate_rows, workspace.rows, d_gates, d_in);
    if constexpr (requires { dispatcher_.pass_backward(context, routing, plan, d_out, d_in); }) {
      dispatcher_.pass_backward(context, routing, plan, d_out, d_in);
    }

    detail::launch(exec, zero_label, d_scores.size(), detail::Zero<compute>{d_scores.data()});
    detail::launch(exec, zero_label, d_logits.size(), detail::Zero<compute>{d_logits.data()});
    if constexpr (detail::DrawsNoise<RouterT>) {
      detail::launch(exec, zero_label, routing.noise.d_scale.size(),
                     detail::Zero<compute>{routing.noise.d_scale.data()});
    }
    const compute loss_scale = compute(options.loss_scale);
    detail::balancing::backward(balancer_, context, routing, plan, d_scores, d_logits, loss_scale, workspace.balancer);
    detail::balancing::backward_gates(balancer_, context, routing, plan, d_gates, loss_scale, workspace.balancer);
    router_.backward(context, p.router, inputs(tape.x), routing, tape.router, d_gates, d_scores, d_logits, d_in,
                     g.router, options, workspace.router);
  }

  /// Once a step: the balancers' own state (a selection bias) from the load since the last update, which then starts
  /// again from zero.
  template <class ExecT, class TapeT>
  void update(const ExecT& exec, const Parameters<ExecT>& p, TapeT& tape) const {
    const std::string& label = detail::kernel_label<"moe::layer::zero">;
    sizes().expect_mine("parameters", p.made_for);
    run_sizes(tape.max_tokens).expect_mine("tape", tape.made_for);
    Context<TypesOf<ExecT>> context{exec, shape_, {}, 0};
    detail::balancing::update(balancer_, context, p.router, tape.load);
    const Vector<int, typename ExecT::memory_space> counters[] = {tape.load, tape.dropped, tape.non_finite,
                                                                  tape.tokens};
    for (const auto& counter : counters) {
      detail::launch(exec, label, counter.size(), detail::Zero<int>{counter.data()});
    }
    detail::launch(exec, label, 1, detail::Zero<compute>{tape.entropy.data()});
  }

  /// Calls f(layer, tape).
  template <class TapeT, class F>
  void visit(TapeT& tape, F&& f) const {
    f(*this, tape);
  }

  // ---- its parts: forward is their composition ----------------------------------------------------------------------

  /// A routing that the caller owns, to record, inspect or inject: for exactly num_tokens tokens.
  template <class ExecT>
  auto make_routing(const ExecT& exec, int num_tokens) const {
    const auto make = [&](auto& arena) { return cut_routing<ExecT>(arena, num_tokens); };
    return detail::carve(exec, detail::allocate(exec, "moe::routing", detail::measure<ExecT>(make)), make);
  }
  /// A plan that the caller owns, for exactly num_tokens tokens.
  template <class ExecT>
  auto make_plan(const ExecT& exec, int num_tokens) const {
    const auto make = [&](auto& arena) { return cut_plan<ExecT>(arena, num_tokens); };
    return detail::carve(exec, detail::allocate(exec, "moe::plan", detail::measure<ExecT>(make)), make);
  }

  /// Chooses experts and gates for each token of x.
  template <class ExecT, class XT, class WorkspaceT>
  void route(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const Routing<TypesOf<ExecT>>& routing,
             WorkspaceT& workspace) const {
    const auto in = inputs_of<ExecT>("moe::Layer::route", x, workspace.max_tokens);
    const int tokens = int(in.x.extent(0));
    detail::expect_extent("moe::Layer::route", "tokens of the routing", tokens, routing.num_tokens());
    run_router(context<ExecT>(exec, workspace, tokens), p, in, routing, NoTape{}, workspace);
  }

  /// Sorts the routing's assignments by expert.
  template <class ExecT, class WorkspaceT>
  void plan(const ExecT& exec, const Routing<TypesOf<ExecT>>& routing, const Plan<TypesOf<ExecT>>& plan,
            WorkspaceT& workspace) const {
    const int tokens = routing.num_tokens();
    detail::expect_at_most("moe::Layer::plan", "tokens of the routing", workspace.max_tokens, tokens);
    detail::expect_extent("moe::Layer::plan", "tokens of the plan", tokens, std::int64_t(plan.rows.extent(0)));
    dispatcher_.plan(context<ExecT>(exec, workspace, tokens), routing, plan, workspace.dispatcher);
  }

  /// y = the experts' results, combined by the routing's gates.
  template <class ExecT, class XT, class YT, class WorkspaceT>
  void apply(const ExecT& exec, const Parameters<ExecT>& p, const XT& x, const Routing<TypesOf<ExecT>>& routing,
             const Plan<TypesOf<ExecT>>& plan, const YT& y, WorkspaceT& workspace) const {
    const auto in = inputs_of<ExecT>("moe::Layer::apply", x, workspace.max_tokens);
    const int tokens = int(in.x.extent(0));
    detail::expect_extent("moe::Layer::apply", "tokens of the routing", tokens, routing.num_tokens());
    detail::expect_extent("moe::Layer::apply", "tokens of the plan", tokens, std::int64_t(plan.rows.extent(0)));
    run_experts(context<ExecT>(exec, workspace, tokens), p, in, routing, plan, y, NoTape{}, workspace);
  }

  // ---- what a block around it asks for ------------------------------------------------------------------------------

  template <class MakerT>
  auto make_parameters(const MakerT& maker) const {
    using ExecT = typename MakerT::exec;
    using types = typename MakerT::template types<TypesOf<ExecT>>;
    static_assert(policies_are_complete<ExecT>());
    return Tensors<types>{router_.template parameters<types>(maker.in("router"), shape_),
                          expert_.template parameters<types>(maker.in("experts"), shape_), sizes().made_for};
  }

  template <class ExecT, class ArenaT>
  Tape<ExecT> make_tape(const ExecT&, ArenaT& arena, int max_tokens) const {
    using types = TypesOf<ExecT>;
    static_assert(policies_are_complete<ExecT>());
    Tape<ExecT> tape;
    tape.losses = arena.template vector<compute>(detail::balancing::num_losses<BalancerT>());
    tape.load = arena.template vector<int>(shape_.experts);
    tape.dropped = arena.template vector<int>(1);
    tape.non_finite = arena.template vector<int>(1);
    tape.tokens = arena.template vector<int>(1);
    tape.entropy = arena.template vector<compute>(1);
    tape.routing = cut_routing<ExecT>(arena, max_tokens);
    if constexpr (detail::DrawsNoise<RouterT>) tape.routing.noise = {arena, max_tokens, shape_.experts};
    tape.plan = cut_plan<ExecT>(arena, max_tokens);
    tape.plan.total_load = tape.load;
    tape.router = router_.template tape<types>(arena, shape_, max_tokens);
    tape.experts = expert_.template tape<types>(arena, shape_, max_rows(max_tokens));
    tape.max_tokens = max_tokens;
    tape.made_for = run_sizes(max_tokens).made_for;
    return tape;
  }

  template <class ExecT, class ArenaT>
  Workspace<ExecT> make_workspace(const ExecT& exec, ArenaT& arena, int max_tokens, Use use) const {
    using types = TypesOf<ExecT>;
    static_assert(policies_are_complete<ExecT>());
    const int rows = max_rows(max_tokens), experts = shape_.experts;
    Workspace<ExecT> w;
    w.engine =
        typename types::engine(exec, arena, router_.limits(shape_, max_tokens).max(expert_.limits(shape_, rows)));
    w.routing = cut_routing<ExecT>(arena, max_tokens);
    w.plan = cut_plan<ExecT>(arena, max_tokens);
    w.rows = arena.template matrix<storage>(rows, padded<storage>(shape_.hidden));
    w.router = detail::workspace_of<types>(router_, arena, shape_, max_tokens, use);
    w.experts = expert_.template workspace<types>(arena, shape_, rows, use);
    w.dispatcher = dispatcher_.template workspace<types>(arena, shape_, max_tokens, slots());
    w.max_tokens = max_tokens;
    w.use = use;
    w.made_for = run_sizes(max_tokens).made_for;
    w.count = detail::ColumnSum<int>(arena, max_tokens, 1);
    if (use == Use::inference) return w;
    w.balancer = detail::balancing::workspace<types>(balancer_, arena, shape_, max_tokens);
    w.entropy = detail::ColumnSum<compute>(arena, max_tokens, 1);
    w.d_gates = arena.template matrix<compute>(max_tokens, slots());
    w.d_scores = arena.template matrix<compute>(max_tokens, padded<compute>(experts));
    w.d_logits = arena.template matrix<compute>(max_tokens, padded<compute>(experts));
    w.d_gate_rows = arena.template vector<compute>(rows);
    return w;
  }

 private:
  int max_rows(int tokens) const { return router_.max_rows(shape_, tokens); }

  detail::OwnSizes sizes() const {
    return {"moe::Layer", "experts, hidden, intermediate", {{shape_.experts, shape_.hidden, shape_.intermediate}}};
  }
  /// Of a tape or workspace.
  detail::OwnSizes run_sizes(int max_tokens) const {
    return {"moe::Layer",
            "experts, hidden, intermediate, slots, max_tokens, max_rows",
            {{shape_.experts, shape_.hidden, shape_.intermediate, slots(), max_tokens, max_rows(max_tokens)}}};
  }

  template <class ExecT, class ArenaT>
  Routing<TypesOf<ExecT>> cut_routing(ArenaT& arena, int max_tokens) const {
    Routing<TypesOf<ExecT>> routing(arena, max_tokens, slots(), shape_.experts, detail::ScoresSumToOne<RouterT>);
    routing.scores_are_logits = detail::ScoresAreLogits<RouterT>;
    return routing;
  }
  template <class ExecT, class ArenaT>
  Plan<TypesOf<ExecT>> cut_plan(ArenaT& arena, int max_tokens) const {
    return {arena, max_tokens, slots(), max_rows(max_tokens), shape_.experts};
  }

  template <class WorkspaceT>
  static void expect_training(const char* where, const WorkspaceT& workspace) {
    detail::expect(workspace.use == Use::training, where,
                   "the workspace was made for inference; make it with Use::training");
  }
  template <class ExecT, class XT>
  auto inputs_of(const char* where, const XT& x, int max_tokens) const {
    return detail::checked_inputs<storage, typename ExecT::memory_space>(where, x, hidden(), max_tokens);
  }

  template <class ExecT, class WorkspaceT>
  Context<TypesOf<ExecT>> context(const ExecT& exec, const WorkspaceT& workspace, int tokens) const {
    run_sizes(workspace.max_tokens).expect_mine("workspace", workspace.made_for);
    return {exec, shape_, workspace.engine, tokens};
  }

  /// The router's decision, and none for padding. The padding is known before it: a router whose tokens compete asks.
  template <class TypesT, class ParametersT, class InputsT, class TapeT, class WorkspaceT>
  void run_router(const Context<TypesT>& context, const ParametersT& p, const InputsT& in, Routing<TypesT> routing,
                  const TapeT& tape, WorkspaceT& workspace) const {
    const std::string& label = detail::kernel_label<"moe::layer::padding">;
    sizes().expect_mine("parameters", p.made_for);
    constexpr bool has_padding = has_side_v<Padding, InputsT>;
    routing.has_padding = has_padding;
    if constexpr (has_padding) {
      const auto mask = side<Padding>(in).view;
      detail::expect_extent("moe::Layer::forward", "tokens of the padding mask", context.num_tokens,
                            std::int64_t(mask.extent(0)));
      detail::launch(context.exec, label, context.num_tokens,
                     detail::NotePadding<Routing<TypesT>, decltype(mask)>{routing, mask});
      workspace.count(context.exec, label, context.num_tokens, 1, detail::Real<Routing<TypesT>>{routing},
                      detail::StoreSum<int>{routing.real_count.data(), false});
    }
    router_.route(context, p.router, in, routing, tape, workspace.router);
    if constexpr (has_padding) {
      detail::launch(context.exec, label, context.num_tokens, detail::ClearPadding<Routing<TypesT>>{routing});
    }
  }

  template <class TypesT, class ParametersT, class InputsT, class YT, class TapeT, class WorkspaceT>
  void run_experts(const Context<TypesT>& context, const ParametersT& p, const InputsT& in,
                   const Routing<TypesT>& routing, const Plan<TypesT>& plan, const YT& y, const TapeT& tape,
                   WorkspaceT& workspace) const {
    const auto out = detail::checked_matrix<storage, typename TypesT::memory>("moe::Layer::forward, y", y,
                                                                              context.num_tokens, hidden(), in.x);
    sizes().expect_mine("parameters", p.made_for);
    const RowSource<storage, compute> source{
        .data = in.x.data(), .stride = std::int64_t(in.x.stride(0)), .index = plan.tokens.data()};
    expert_.forward(context, p.experts, plan.segments(max_rows(context.num_tokens)), source, workspace.rows, tape,
                    workspace.experts);
    dispatcher_.combine(context, routing, plan, workspace.rows, out, 0);
    if constexpr (requires { dispatcher_.pass(context, routing, plan, in.x, out); }) {
      dispatcher_.pass(context, routing, plan, in.x, out);
    }
  }

  template <class TypesT, class TapeT, class WorkspaceT>
  void count(const Context<TypesT>& context, const Routing<TypesT>& routing, const Plan<TypesT>& plan,
             const TapeT& tape, const WorkspaceT& workspace) const {
    const std::string& label = detail::kernel_label<"moe::layer::count">;
    detail::launch(context.exec, label, shape_.experts,
                   detail::AddLoad<decltype(tape.load)>{tape.load, tape.dropped, plan.load, plan.offsets.data()});
    using RoutingT = Routing<TypesT>;
    workspace.count(context.exec, label, context.num_tokens, 1, detail::NonFinite<RoutingT>{routing, shape_.experts},
                    detail::StoreSum<int>{tape.non_finite.data(), true});
    workspace.count(context.exec, label, context.num_tokens, 1, detail::Real<RoutingT>{routing},
                    detail::StoreSum<int>{tape.tokens.data(), true});
    workspace.entropy(context.exec, label, context.num_tokens, 1,
                      detail::ScoreEntropy<RoutingT>{routing, shape_.experts},
                      detail::StoreSum<compute>{tape.entropy.data(), true});
  }

  /// Asked in a static_assert, so that the sentences come before the errors that follow from the same mistake.
  template <class ExecT>
  static constexpr bool policies_are_complete() {
    using types = TypesOf<ExecT>;
    return detail::router_is_complete<RouterT, types>() && detail::expert_is_complete<ExpertT, types>() &&
           detail::balancer_is_complete<BalancerT, RouterT, types>() &&
           detail::dispatcher_is_complete<DispatcherT, types>();
  }
  template <class ExecT>
  static constexpr bool policies_can_train() {
    using types = TypesOf<ExecT>;
    return detail::router_can_train<RouterT, types>() && detail::expert_can_train<ExpertT, types>() &&
           detail::dispatcher_can_train<DispatcherT, types>();
  }

  [[no_unique_address]] ShapeT shape_;
  [[no_unique_address]] RouterT router_;
  [[no_unique_address]] ExpertT expert_;
  [[no_unique_address]] BalancerT balancer_;
  [[no_unique_address]] DispatcherT dispatcher_;
};

}  // namespace moe
