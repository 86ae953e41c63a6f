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

/// A routing that is given, for a balancer to look at.
template <class T>
class Balancing {
  using Types = moe::Types<Exec, moe::Shape<>, moe::Precision<T>, NoEngine>;

 public:
  Balancing(int tokens, int experts, int k, bool sum_to_one, const std::vector<int>& ids,
            const std::vector<double>& scores, const std::vector<double>& logits)
      : tokens_(tokens), experts_(experts), shape_{.experts = experts, .hidden = 1, .intermediate = 1} {
    const auto make = [&](auto& arena) {
      return Parts{{arena, tokens, k, experts, sum_to_one}, {arena, tokens, k, tokens * k, experts}};
    };
    parts_ = moe::detail::carve(exec_, moe::detail::allocate(exec_, "test", moe::detail::measure<Exec>(make)), make);
    assign(parts_.routing.ids, ids);
    assign(parts_.routing.scores, scores, experts);
    assign(parts_.routing.logits, logits, experts);
    assign(parts_.plan.load, reference::load(ids, experts));
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

  /// d_scores and d_logits, added to what is there.
  template <class BalancerT>
  std::pair<std::vector<T>, std::vector<T>> gradient(const BalancerT& balancer, T scale,
                                                     const std::vector<T>& before = {}) const {
    const auto d_scores = rows<T>(tokens_, experts_), d_logits = rows<T>(tokens_, experts_);
    if (!before.empty()) assign(d_scores, before), assign(d_logits, before);
    using MatrixT = moe::Matrix<T, Memory>;
    with_workspace(balancer, [&](const auto& workspace) {
      balancer.backward(context(), parts_.routing, parts_.plan, MatrixT(d_scores), MatrixT(d_logits), scale, workspace);
    });
    return {to_host(d_scores), to_host(d_logits)};
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
  int experts_;
  moe::Shape<> shape_;
  moe::Owned<Parts, Memory> parts_;
};

}  // namespace test
