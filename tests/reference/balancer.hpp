#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <reference/router.hpp>
#include <vector>

namespace reference {

/// Assignments per expert.
inline std::vector<int> load(const std::vector<int>& ids, int experts) {
  std::vector<int> count(experts, 0);
  for (const int e : ids) {
    if (e >= 0) ++count[e];
  }
  return count;
}

/// What a balancer looks at.
struct Batch {
  int tokens = 0;
  int experts = 1;
  int slots = 1;
  bool sum_to_one = false;             ///< the scores of a token do
  bool are_logits = false;             ///< the scores
  std::vector<int> ids = {};           ///< [tokens, slots]; -1: none
  Values gates = {};                   ///< [tokens, slots]
  Values scores = {};                  ///< [tokens, experts]
  Values logits = {};                  ///< [tokens, experts]
  Values clean = {};                   ///< [tokens, experts], the logits before noise; empty: the router draws none
  Values scale = {};                   ///< [tokens, experts], of the noise
  std::vector<int> real = {};          ///< [tokens], 0 for padding; empty: there is none
  std::vector<int> earlier_load = {};  ///< [experts], of the batches before this one in the step; empty: none

  bool is_real(int t) const { return real.empty() || real[t] != 0; }
  int num_real() const {
    int count = 0;
    for (int t = 0; t < tokens; ++t) count += is_real(t);
    return count;
  }
  /// The scores of a token, divided by their sum unless they add up to one; the softmax of logits.
  Values probabilities(int t) const {
    Values p = row(scores, experts, t);
    if (are_logits) return softmax(p);
    double sum = 1e-20;
    for (const double each : p) sum += each;
    for (double& each : p) each /= sum_to_one ? 1 : sum;
    return p;
  }
};

/// experts * sum_e f_e P_e over the real tokens from `first` to `end`, with f_e = load_e / choices and P_e the mean of
/// the probabilities.
inline double load_balance(const Batch& batch, int first, int end, const std::vector<int>& load, double choices) {
  if (choices == 0) return 0;
  double loss = 0;
  int tokens = 0;
  for (int t = first; t < end; ++t) tokens += batch.is_real(t);
  for (int t = first; t < end; ++t) {
    if (!batch.is_real(t)) continue;
    const Values p = batch.probabilities(t);
    for (int e = 0; e < batch.experts; ++e) loss += batch.experts * load[e] / choices * p[e] / tokens;
  }
  return loss;
}

/// Over the whole batch, with the batch's own load.
inline double switch_loss(const Batch& batch, bool per_choice = true) {
  const std::vector<int> mine = load(batch.ids, batch.experts);
  const double choices = std::accumulate(mine.begin(), mine.end(), 0.0);
  return load_balance(batch, 0, batch.tokens, mine, per_choice ? choices : batch.num_real());
}

/// With the load of the earlier batches too, and this batch's probabilities.
inline double global_balance(const Batch& batch, bool per_choice = true) {
  if (batch.num_real() == 0) return 0;
  const std::vector<int> mine = load(batch.ids, batch.experts);
  std::vector<int> all = mine;
  for (int e = 0; e < batch.experts && !batch.earlier_load.empty(); ++e) all[e] += batch.earlier_load[e];
  const double choices = std::accumulate(all.begin(), all.end(), 0.0);
  const double per_token = std::accumulate(mine.begin(), mine.end(), 0.0) / batch.num_real();
  return load_balance(batch, 0, batch.tokens, all, choices) * (per_choice ? 1 : per_token);
}

/// Within each `length` consecutive tokens, then the mean over those that have a real token.
inline double sequence_balance(const Batch& batch, int length, bool per_choice = true) {
  double loss = 0;
  int sequences = 0;
  for (int first = 0; first < batch.tokens; first += length) {
    const int end = std::min(first + length, batch.tokens);
    int tokens = 0;
    for (int t = first; t < end; ++t) tokens += batch.is_real(t);
    if (tokens == 0) continue;
    const std::vector<int> ids(batch.ids.begin() + first * batch.slots, batch.ids.begin() + end * batch.slots);
    const std::vector<int> mine = load(ids, batch.experts);
    const double choices = std::accumulate(mine.begin(), mine.end(), 0.0);
    loss += load_balance(batch, first, end, mine, per_choice ? choices : tokens);
    ++sequences;
  }
  return sequences == 0 ? 0 : loss / sequences;
}

/// mean over tokens of (log sum_e exp z_e)^2
inline double z_loss(const Batch& batch) {
  double loss = 0;
  for (int t = 0; t < batch.tokens; ++t) {
    if (!batch.is_real(t)) continue;
    const Values z = row(batch.logits, batch.experts, t);
    const double largest = *std::max_element(z.begin(), z.end());
    double sum = 0;
    for (const double each : z) sum += std::exp(each - largest);
    loss += std::pow(largest + std::log(sum), 2) / batch.num_real();
  }
  return loss;
}

/// var(v) / (mean(v)^2 + 1e-10), the variance divided by n - 1; 0 for one element
inline double variation(const Values& v) {
  const double n = double(v.size());
  if (n < 2) return 0;
  double mean = 0, variance = 0;
  for (const double each : v) mean += each / n;
  for (const double each : v) variance += (each - mean) * (each - mean) / (n - 1);
  return variance / (mean * mean + 1e-10);
}

/// ... of the gates that each expert has in all
inline double importance_loss(const Batch& batch) {
  Values importance(batch.experts, 0.0);
  for (std::size_t i = 0; i < batch.ids.size(); ++i) {
    if (batch.ids[i] >= 0) importance[batch.ids[i]] += batch.gates[i];
  }
  return variation(importance);
}

/// ... of the probabilities that each expert is among the `slots` largest, if its own noise is drawn again
inline double load_loss(const Batch& batch) {
  Values load(batch.experts, 0.0);
  for (int t = 0; t < batch.tokens; ++t) {
    if (!batch.is_real(t)) continue;
    for (int e = 0; e < batch.experts; ++e) {
      Values others;
      for (int other = 0; other < batch.experts; ++other) {
        if (other != e) others.push_back(batch.logits[t * batch.experts + other]);
      }
      std::sort(others.rbegin(), others.rend());
      if (batch.slots > int(others.size())) {
        load[e] += 1;
        continue;
      }
      const int i = t * batch.experts + e;
      const double u = (batch.clean[i] - others[batch.slots - 1]) / batch.scale[i];
      load[e] += 0.5 * std::erfc(-u / std::sqrt(2.0));
    }
  }
  return variation(load);
}

/// The sum over tokens of -sum_e p_e log p_e, p = the scores divided by their sum.
inline double entropy(const Values& scores, int experts) {
  double total = 0;
  for (int t = 0; t < int(scores.size()) / experts; ++t) {
    double sum = 0;
    for (const double s : row(scores, experts, t)) sum += s;
    for (const double s : row(scores, experts, t)) {
      if (s > 0) total -= s / sum * std::log(s / sum);
    }
  }
  return total;
}

/// token * mean_t H(p_t) - batch_weight * H(mean_t p_t)
inline double entropy_loss(const Batch& batch, double token, double batch_weight) {
  Values mean(batch.experts, 0.0);
  double loss = 0;
  for (int t = 0; t < batch.tokens; ++t) {
    if (!batch.is_real(t)) continue;
    const Values p = batch.probabilities(t);
    for (int e = 0; e < batch.experts; ++e) {
      if (p[e] != 0) loss -= token * p[e] * std::log(p[e]) / batch.num_real();
      mean[e] += p[e] / batch.num_real();
    }
  }
  for (const double p : mean) {
    if (p != 0) loss += batch_weight * p * std::log(p);
  }
  return loss;
}

/// bias + rate * sign(mean load - load)
inline Values moved_bias(Values bias, const std::vector<int>& load, double rate) {
  double mean = 0;
  for (const int each : load) mean += double(each) / double(load.size());
  for (std::size_t e = 0; e < bias.size(); ++e) bias[e] += load[e] < mean ? rate : load[e] > mean ? -rate : 0;
  return bias;
}

}  // namespace reference
