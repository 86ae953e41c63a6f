#include "pairs.hpp"

#include <moe/moe.hpp>

#include <algorithm>
#include <type_traits>
#include <variant>

namespace {

/// What the library says to such a router of such a model; empty: nothing.
std::string refused(const RouterChoice& router, const ModelShape& shape) {
  try {
    router.make(shape, 1).check({.experts = shape.experts, .hidden = shape.hidden, .intermediate = shape.intermediate});
    return {};
  } catch (const moe::Error& error) {
    return error.what();
  }
}

/// Why the two are not tried together; empty: they are.
std::string why_not(const RouterChoice& router, const BalancerChoice& balancer, int micro_batches) {
  return std::visit(
      [&]<class BalancerT>(const BalancerT&) -> std::string {
        if (std::is_same_v<BalancerT, moe::NoBalance>) return {};
        if (!router.no_balancer.empty()) return router.no_balancer;
        if (moe::detail::balancing::NeedsNoise<BalancerT> && !router.draws_noise) {
          return "the balancer looks at the noise of the router, which draws none";
        }
        if (moe::detail::balancing::NeedsSelectionBias<BalancerT> && !router.has_selection_bias) {
          return "the balancer moves a selection bias, which the router has not";
        }
        if (std::is_same_v<BalancerT, moe::GlobalBalance> && micro_batches == 1) {
          return "with one micro-batch a step (--micro-batches) it is switch";
        }
        return {};
      },
      balancer.policy.chosen);
}

}  // namespace

Pairs pairs_of(const std::vector<RouterChoice>& routers, const std::vector<BalancerChoice>& balancers,
               const ModelShape& shape, int micro_batches) {
  Pairs pairs;
  for (const RouterChoice& router : routers) {
    if (const std::string reason = refused(router, shape); !reason.empty()) {
      pairs.left_out.push_back({router.name, {}, reason});
      continue;
    }
    const std::size_t before = pairs.left_out.size();
    for (const BalancerChoice& balancer : balancers) {
      const std::string reason = why_not(router, balancer, micro_batches);
      if (reason.empty()) {
        pairs.tried.push_back({router, balancer});
        continue;
      }
      const auto same = std::find_if(pairs.left_out.begin() + std::ptrdiff_t(before), pairs.left_out.end(),
                                     [&](const LeftOut& l) { return l.reason == reason; });
      if (same == pairs.left_out.end()) {
        pairs.left_out.push_back({router.name, {balancer.name}, reason});
      } else {
        same->balancers.push_back(balancer.name);
      }
    }
  }
  return pairs;
}
