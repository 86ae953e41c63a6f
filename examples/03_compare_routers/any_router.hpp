#pragma once

#include "predictor.hpp"

#include <moe/moe.hpp>

#include <any>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

/// A router that is chosen at run time: a policy as any other, behind which stands one of another type. All that depends on
/// that type is compiled where AnyRouter::of<RouterT> is called; layer, model and trainer see AnyRouter alone, and are
/// compiled once for all routers.
class AnyRouter {
 public:
  using Shape = moe::Shape<>;
  using Types = moe::Types<Exec, Shape, moe::Precision<>, moe::BestEngine::type<Exec, float>>;
  using Context = moe::Context<Types>;
  using Routing = moe::Routing<Types>;
  using Arena = moe::Arena<Memory>;
  using Rows = moe::Matrix<float, Memory>;
  using ConstRows = moe::Matrix<const float, Memory>;

  template <class IdsT, class... SidesT>
  static moe::Inputs<ConstRows, SidesT...> with_rows(const moe::Inputs<IdsT, SidesT...>&);
  /// The tokens, and what travels with a batch of this model.
  using Inputs = decltype(with_rows(std::declval<Batch>().inputs(0)));

  /// The tensors of any router, for whoever walks them, and the router's own struct of the same tensors.
  struct Tensors {
    std::vector<moe::Tensor<float, Memory, Types::engine::Layout>> weights;
    std::vector<moe::Tensor<float, Memory>> buffers;
    moe::Tensor<float, Memory> selection_bias;  ///< one of them, for LossFreeBias; empty where there is none
    std::any exact;

    template <class F, class FirstT, class... RestT>
    static void for_each(F&& f, FirstT& first, RestT&... rest) {
      for (std::size_t i = 0; i < first.weights.size(); ++i) f(first.weights[i], rest.weights[i]...);
      for (std::size_t i = 0; i < first.buffers.size(); ++i) f(first.buffers[i], rest.buffers[i]...);
    }
  };

  /// \tparam asks_for_bytes  the router wants moe::TokenIds. For others a byte is no name of a token: their noise would be
  ///                         the same for all tokens with the same byte.
  template <bool asks_for_bytes = false, class RouterT>
  static AnyRouter of(const RouterT& router) {
    return AnyRouter(std::make_shared<Exact<RouterT, asks_for_bytes>>(router));
  }

  // ---- what a layer asks of a router

  static constexpr bool needs_sides = true;
  static constexpr bool draws_noise = true;         // some do, and a layer makes room for it
  static constexpr bool has_selection_bias = true;  // some have

  template <class>
  using Parameters = Tensors;
  template <class>
  using Tape = std::any;
  template <class>
  using Workspace = std::any;

  void check(const Shape& shape) const { router_->check(shape); }
  int slots(const Shape& shape) const { return router_->slots(shape); }
  int max_rows(const Shape& shape, int num_tokens) const { return router_->max_rows(shape, num_tokens); }
  moe::EngineLimits limits(const Shape& shape, int max_tokens) const { return router_->limits(shape, max_tokens); }
  template <class TypesT, class MakerT>
  Tensors parameters(const MakerT& maker, const Shape& shape) const {
    return router_->parameters(maker, shape);
  }
  template <class TypesT>
  std::any tape(Arena& arena, const Shape& shape, int max_tokens) const {
    return router_->tape(arena, shape, max_tokens);
  }
  template <class TypesT>
  std::any workspace(Arena& arena, const Shape& shape, int max_tokens) const {
    return router_->workspace(arena, shape, max_tokens);
  }
  template <class TapeT>
  void route(const Context& context, const Tensors& p, const Inputs& in, const Routing& routing, const TapeT& tape,
             const std::any& workspace) const {
    if constexpr (std::is_same_v<TapeT, moe::NoTape>) {
      router_->route(context, p.exact, in, routing, nullptr, workspace);
    } else {
      router_->route(context, p.exact, in, routing, &tape, workspace);
    }
  }
  void backward(const Context& context, const Tensors& p, const moe::Inputs<ConstRows>& in, const Routing& routing,
                const std::any& tape, const Rows& d_gates, const Rows& d_scores, const Rows& d_logits, const Rows& dx,
                const Tensors& g, const moe::Backward& options, const std::any& workspace) const {
    router_->backward(context, p.exact, in, routing, tape, {d_gates, d_scores, d_logits, dx}, g.exact, options,
                      workspace);
  }

  /// What a layer reads off a router's type, and cannot read off this one: for the routing on its tape.
  void describe(Routing& routing) const { router_->describe(routing); }

 private:
  struct Gradients {
    Rows gates, scores, logits, x;
  };

  struct Interface {
    virtual ~Interface() = default;
    virtual void check(const Shape&) const = 0;
    virtual int slots(const Shape&) const = 0;
    virtual int max_rows(const Shape&, int num_tokens) const = 0;
    virtual moe::EngineLimits limits(const Shape&, int max_tokens) const = 0;
    virtual Tensors parameters(const moe::ParameterMaker<Exec>&, const Shape&) const = 0;
    virtual Tensors parameters(const moe::GradientMaker<Exec>&, const Shape&) const = 0;
    virtual std::any tape(Arena&, const Shape&, int max_tokens) const = 0;
    virtual std::any workspace(Arena&, const Shape&, int max_tokens) const = 0;
    virtual void route(const Context&, const std::any& p, const Inputs&, const Routing&, const std::any* tape,
                       const std::any& workspace) const = 0;
    virtual void backward(const Context&, const std::any& p, const moe::Inputs<ConstRows>&, const Routing&,
                          const std::any& tape, const Gradients&, const std::any& g, const moe::Backward&,
                          const std::any& workspace) const = 0;
    virtual void describe(Routing&) const = 0;
  };

  template <class RouterT, bool asks_for_bytes>
  struct Exact final : Interface {
    using P = typename RouterT::template Parameters<Types>;
    using T = typename RouterT::template Tape<Types>;
    using W = typename RouterT::template Workspace<Types>;
    static_assert(std::is_same_v<Types, Types::gradients>, "one type for parameters and gradients");

    explicit Exact(const RouterT& router_) : router(router_) {}

    void check(const Shape& shape) const override { router.check(shape); }
    int slots(const Shape& shape) const override { return router.slots(shape); }
    int max_rows(const Shape& shape, int num_tokens) const override { return router.max_rows(shape, num_tokens); }
    moe::EngineLimits limits(const Shape& shape, int max_tokens) const override {
      return router.limits(shape, max_tokens);
    }

    Tensors parameters(const moe::ParameterMaker<Exec>& maker, const Shape& shape) const override {
      return packed(router.template parameters<Types>(maker, shape));
    }
    Tensors parameters(const moe::GradientMaker<Exec>& maker, const Shape& shape) const override {
      return packed(router.template parameters<Types>(maker, shape));
    }
    std::any tape(Arena& arena, const Shape& shape, int max_tokens) const override {
      return std::any(std::in_place_type<T>, router.template tape<Types>(arena, shape, max_tokens));
    }
    std::any workspace(Arena& arena, const Shape& shape, int max_tokens) const override {
      return std::any(std::in_place_type<W>,
                      moe::detail::workspace_of<Types>(router, arena, shape, max_tokens, moe::Use::training));
    }

    void route(const Context& context, const std::any& p, const Inputs& in, const Routing& routing,
               const std::any* tape, const std::any& workspace) const override {
      const auto run = [&](const auto& exact_tape) {
        if constexpr (asks_for_bytes) {
          router.route(context, as<P>(p), in, routing, exact_tape, as<W>(workspace));
        } else {
          router.route(context, as<P>(p), moe::inputs(in.x, moe::side<moe::Step>(in)), routing, exact_tape,
                       as<W>(workspace));
        }
      };
      tape ? run(as<T>(*tape)) : run(moe::NoTape{});
    }
    void backward(const Context& context, const std::any& p, const moe::Inputs<ConstRows>& in, const Routing& routing,
                  const std::any& tape, const Gradients& d, const std::any& g, const moe::Backward& options,
                  const std::any& workspace) const override {
      router.backward(context, as<P>(p), in, routing, as<T>(tape), d.gates, d.scores, d.logits, d.x, as<P>(g), options,
                      as<W>(workspace));
    }
    void describe(Routing& routing) const override {
      if constexpr (requires { RouterT::scores_sum_to_one; }) routing.scores_sum_to_one = RouterT::scores_sum_to_one;
      if constexpr (requires { RouterT::scores_are_logits; }) routing.scores_are_logits = RouterT::scores_are_logits;
    }

   private:
    template <class V>
    static const V& as(const std::any& any) {
      return *std::any_cast<V>(&any);
    }
    /// Tensors are handles: a copy is the same tensor.
    static Tensors packed(P p) {
      Tensors tensors;
      P::for_each(
          [&](auto& tensor) {
            if constexpr (std::is_same_v<decltype(tensor), decltype(tensors.weights[0])>) {
              tensors.weights.push_back(tensor);
            } else {
              tensors.buffers.push_back(tensor);
            }
          },
          p);
      if constexpr (requires { p.selection_bias; }) tensors.selection_bias = p.selection_bias;
      tensors.exact = std::move(p);
      return tensors;
    }

    RouterT router;
  };

  explicit AnyRouter(std::shared_ptr<const Interface> router) : router_(std::move(router)) {}

  std::shared_ptr<const Interface> router_;
};
