#pragma once

#include "any_router.hpp"
#include "settings.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

/// A row of the comparison.
struct RouterChoice {
  std::string name;  ///< "softmax-top-k"
  std::string what;  ///< its stages, in a line
  std::function<AnyRouter(const ModelShape&, std::uint64_t seed)> make;

  bool draws_noise = false;         ///< for a balancer that looks at it
  bool has_selection_bias = false;  ///< for a balancer that moves it
  bool is_comparable = true;        ///< causal, and of equal active size: may be called the best
  bool takes_all_experts = false;   ///< its experts are narrower, so that the active size is the others'
  std::string no_balancer = {};     ///< why no balancer goes with it; empty: one may
  std::string caveat = {};          ///< what to know before its figure is compared with others
};

// One translation unit for each family: what they have in common is compiled once.
std::vector<RouterChoice> token_choice_routers();
std::vector<RouterChoice> noisy_routers();
std::vector<RouterChoice> whole_batch_routers();
std::vector<RouterChoice> untrained_routers();

inline std::vector<RouterChoice> all_routers() {
  std::vector<RouterChoice> all;
  for (const auto& family : {token_choice_routers, noisy_routers, whole_batch_routers, untrained_routers}) {
    for (RouterChoice& router : family()) all.push_back(std::move(router));
  }
  return all;
}
