#pragma once

#include "balancers.hpp"
#include "routers.hpp"
#include "settings.hpp"

#include <string>
#include <vector>

struct Pair {
  RouterChoice router;
  BalancerChoice balancer;
};
struct LeftOut {
  std::string router;
  std::vector<std::string> balancers;  ///< empty: all
  std::string reason;
};

/// Every router with every balancer, but for what has no meaning or what the library refuses.
struct Pairs {
  std::vector<Pair> tried;
  std::vector<LeftOut> left_out;
};
Pairs pairs_of(const std::vector<RouterChoice>& routers, const std::vector<BalancerChoice>& balancers,
               const ModelShape& shape, int micro_batches);
