#pragma once

#include <cstddef>
#include <vector>

namespace reference {

/// The assignments of all tokens, sorted by expert and, within one, in the order of tokens.
struct Plan {
  std::vector<int> offsets;  ///< [experts + 1]
  std::vector<int> tokens;   ///< [rows]
  std::vector<int> rows;     ///< [tokens, slots]; -1 for an empty slot
};

inline Plan sort_by_expert(const std::vector<int>& ids, int slots, int experts) {
  Plan plan;
  plan.rows.assign(ids.size(), -1);
  for (int e = 0; e < experts; ++e) {
    plan.offsets.push_back(int(plan.tokens.size()));
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] != e) continue;
      plan.rows[i] = int(plan.tokens.size());
      plan.tokens.push_back(int(i) / slots);
    }
  }
  plan.offsets.push_back(int(plan.tokens.size()));
  return plan;
}

}  // namespace reference
