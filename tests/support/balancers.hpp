#pragma once

#include <moe/core/precision.hpp>
#include <moe/core/routing.hpp>
#include <moe/core/shape.hpp>
#include <moe/core/types.hpp>
#include <moe/layer/block.hpp>
#include <reference/balancer.hpp>
#include <support/views.hpp>
#include <utility>
#include <vector>

namespace test {

/// Balancers multiply nothing. (Not a member: nvcc wants the types of kernels to be public.)
struct NoEngine {};

/// What a balancer's backward has written.
template <class T>
struct BalancerGradient {
  std::vector<T> gates, scores, logits, scale;  ///< scale: of the noise; empty without any

  bool operator==(const BalancerGradient&) const = default;
};

/// A batch that is given, for a balancer to look at.
template <class T>
class Balancing {
  using Types = moe::Types<Exec, moe::Shape<>, moe::Precision<T>, NoEngine>;

 public:
  explicit Balancing(const reference::Batch& batch)
      : tokens_(batch.tokens),
        slots_(batch.slots),
        experts_(batch.experts),
        shape_{.experts = batch.experts, .hidden = 1, .intermediate = 1} {
    const auto make = [&](auto& arena) {
      Parts parts{{arena, tokens_, slots_, experts_, batch.sum_to_one},
                  {arena, tokens_, slots_, tokens_ * slots_, experts_}};
      if (!batch.clean.empty()) parts.routing.noise = {arena, tokens_, experts_};
      parts.plan.total_load = arena.template vector<int>(experts_);
      return parts;
    };
    parts_ = moe::detail::carve(exec_, moe::detail::allocate(exec_, "test", moe::detail::measure<Exec>(make)), make);
    auto& routing = parts_.routing;
    routing.scores_are_logits = batch.are_logits;
    assign(routing.ids, batch.ids);
    assign(routing.gates, batch.gates);
    assign(routing.scores, batch.scores, experts_);
    assign(routing.logits, batch.logits, experts_);
    if (!batch.clean.empty()) {
      assign(routing.noise.clean, batch.clean, experts_);
      assign(routing.noise.scale, batch.scale, experts_);
    }
    routing.has_padding = !batch.real.empty();
    if (routing.has_padding) {
      assign(routing.real, batch.real);
      assign(routing.real_count, std::vector{batch.num_real()});
    }
    std::vector<int> load = reference::load(batch.ids, experts_);
    assign(parts_.plan.load, load);
    for (int e = 0; e < experts_ && !batch.earlier_load.empty(); ++e) load[e] += batch.earlier_load[e];
    assign(parts_.plan.total_load, load);
  }

  /// The first of its losses.
  template <class BalancerT>
  T loss(const BalancerT& balancer) const {
    return losses(balancer)[0];
  }
  template <class BalancerT>
  std::vector<T> losses(const BalancerT& balancer) const {
    const Numbers<T> losses("losses", BalancerT::num_losses);
    Kokkos::deep_copy(losses, T(-7));
    with_workspace(balancer, [&](const auto& workspace) {
      balancer.loss(context(), parts_.routing, parts_.plan, losses.data(), workspace);
    });
    return to_host(losses);
  }

  /// Added to what is there: `before` everywhere.
  template <class BalancerT>
  BalancerGradient<T> gradient(const BalancerT& balancer, T scale, T before = 0) const {
    const auto d_gates = rows<T>(tokens_, slots_), d_scores = rows<T>(tokens_, experts_);
    const auto d_logits = rows<T>(tokens_, experts_);
    const auto d_scale = parts_.routing.noise.d_scale;
    Kokkos::deep_copy(d_gates, before);
    Kokkos::deep_copy(d_scores, before);
    Kokkos::deep_copy(d_logits, before);
    Kokkos::deep_copy(d_scale, before);
    using MatrixT = moe::Matrix<T, Memory>;
    with_workspace(balancer, [&](const auto& workspace) {
      moe::detail::balancing::backward_gates(balancer, context(), parts_.routing, parts_.plan, MatrixT(d_gates), scale,
                                             workspace);
      balancer.backward(context(), parts_.routing, parts_.plan, MatrixT(d_scores), MatrixT(d_logits), scale, workspace);
    });
    const bool noisy = d_scale.extent(1) > 0;
    return {to_host(d_gates), to_host(d_scores), to_host(d_logits),
            noisy ? to_host(d_scale, experts_) : std::vector<T>()};
  }

 private:
  struct Parts {
    moe::Routing<Types> routing;
    moe::Plan<Types> plan;
  };

  moe::Context<Types> context() const { return {exec_, shape_, {}, tokens_}; }

  template <class BalancerT, class F>
  void with_workspace(const BalancerT& balancer, const F& f) const {
    using WorkspaceT = decltype(balancer.template workspace<Types>(std::declval<moe::Arena<Memory>&>(), shape_, 0));
    struct Holder {
      WorkspaceT workspace;
    };
    const auto make = [&](auto& arena) { return Holder{balancer.template workspace<Types>(arena, shape_, tokens_)}; };
    const auto owned =
        moe::detail::carve(exec_, moe::detail::allocate(exec_, "test", moe::detail::measure<Exec>(make)), make);
    f(owned.workspace);
    Kokkos::fence();
  }

  Exec exec_;
  int tokens_;
  int slots_;
  int experts_;
  moe::Shape<> shape_;
  moe::Owned<Parts, Memory> parts_;
};

}  // namespace test
