#pragma once

#include <cmath>
#include <reference/matrix.hpp>

namespace reference {

inline double relu(double x) { return x > 0 ? x : 0; }
inline double silu(double x) { return x / (1 + std::exp(-x)); }
/// x times the normal distribution's probability of less than x
inline double gelu(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }

using Activation = double (*)(double);

/// down activation(up x), with up [intermediate, hidden] and down [hidden, intermediate]
inline Values mlp(const Values& x, const Values& up, const Values& down, Activation activation) {
  Values h = multiply(up, x);
  for (double& each : h) each = activation(each);
  return multiply(down, h);
}

/// down (activation(gate x) * (up x)); gate_up is gate [intermediate, hidden], and then up
inline Values gated_mlp(const Values& x, const Values& gate_up, const Values& down, Activation activation) {
  const Values gate(gate_up.begin(), gate_up.begin() + long(gate_up.size() / 2));
  const Values up(gate_up.begin() + long(gate_up.size() / 2), gate_up.end());
  Values h = multiply(gate, x);
  const Values u = multiply(up, x);
  for (std::size_t f = 0; f < h.size(); ++f) h[f] = activation(h[f]) * u[f];
  return multiply(down, h);
}

/// The matrices of all experts, and what kind they are.
struct Experts {
  Values in;    ///< [experts, 1 or 2, intermediate, hidden]
  Values down;  ///< [experts, hidden, intermediate]
  int count = 1;
  bool gated = true;
  Activation activation = silu;

  Values operator()(int expert, const Values& x) const {
    const Values mine = row(in, int(in.size()) / count, expert),
                 mine_down = row(down, int(down.size()) / count, expert);
    return gated ? gated_mlp(x, mine, mine_down, activation) : mlp(x, mine, mine_down, activation);
  }
};

}  // namespace reference
