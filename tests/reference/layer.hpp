#pragma once

#include <reference/expert.hpp>
#include <reference/router.hpp>

namespace reference {

/// y[t] = sum over the token's slots of gate * expert(x[t])
inline Values combine(const Values& x, int hidden, const Routing& routing, const Experts& experts) {
  Values y(x.size(), 0.0);
  for (int t = 0; t < int(x.size()) / hidden; ++t) {
    for (int slot = 0; slot < routing.slots; ++slot) {
      const int e = routing.ids[t * routing.slots + slot];
      if (e < 0) continue;
      const Values result = experts(e, row(x, hidden, t));
      for (int d = 0; d < hidden; ++d) y[t * hidden + d] += routing.gates[t * routing.slots + slot] * result[d];
    }
  }
  return y;
}

}  // namespace reference
