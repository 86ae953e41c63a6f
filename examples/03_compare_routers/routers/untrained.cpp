// Routers that learn nothing: what a learnt one must beat.

#include "../routers.hpp"

#include <moe/moe.hpp>

std::vector<RouterChoice> untrained_routers() {
  const std::string learns_nothing = "the router learns nothing, so that no loss can move it";
  return {
      {.name = "hash",
       .what = "k experts by a hash of the byte before; gate = 1 / k",
       .make =
           [](const ModelShape& s, std::uint64_t seed) {
             const moe::HashRouter<moe::dynamic> router{.rule = {.k = s.top_k, .seed = seed}, .gate = 1.0 / s.top_k};
             return AnyRouter::of<true>(router);
           },
       .no_balancer = learns_nothing},
      {.name = "random",
       .what = "k experts at random, others at each step, on held-out text too; gate = 1 / k",
       .make =
           [](const ModelShape& s, std::uint64_t seed) {
             const moe::RandomRouter<moe::dynamic> router{.rule = {.k = s.top_k, .seed = seed}, .gate = 1.0 / s.top_k};
             return AnyRouter::of(router);
           },
       .no_balancer = learns_nothing},
  };
}
