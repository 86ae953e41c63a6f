#pragma once

#include "balancers.hpp"
#include "routers.hpp"
#include "settings.hpp"
#include "text.hpp"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

/// What all runs have in common: figures of other settings do not belong in the same table.
struct Settings {
  std::vector<std::string> text;  ///< files and folders; none: the default
  std::size_t max_bytes = 2'000'000;
  ModelShape shape{.intermediate = 64, .hidden = 64, .embedding = 16};
  TrainingSettings training{.steps = 400, .batch = 1024, .micro_batches = 4, .records = 20, .held_out_bytes = 2048};
  double capacity = 0;               ///< factor; 0: dropless
  int final_held_out_bytes = 65536;  ///< of which the bits per byte at the end are the mean
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Settings, text, max_bytes, shape, training, capacity, final_held_out_bytes)

/// A point of a learning curve. A number that is none, where training has diverged, is null in JSON.
struct Point {
  int step = 0;
  double training = 0;  ///< bits per byte, the mean since the last point
  double held_out = 0;
};

/// What one router, with one balancer and one seed, has come to.
struct Outcome {
  std::string router;
  std::string balancer;
  std::uint64_t seed = 0;

  double bits_per_byte = 0;      ///< held out, at the end
  double load_entropy = 0;       ///< of the shares that the experts have of the load, over log(experts): 1 is even
  double imbalance = 0;          ///< the busiest expert's load over the mean
  double dropped = 0;            ///< share of the assignments
  double experts_per_token = 0;  ///< before drops
  double seconds = 0;            ///< of training
  std::vector<Point> curve = {};

  bool is(const std::string& router_, const std::string& balancer_, std::uint64_t seed_) const {
    return router == router_ && balancer == balancer_ && seed == seed_;
  }
};
void to_json(nlohmann::json& json, const Outcome& outcome);
void from_json(const nlohmann::json& json, Outcome& outcome);

/// Trains and measures. `watch(step, bits per byte so far)` is called after each step; false: give up, and there is no
/// outcome.
std::optional<Outcome> run_experiment(const Exec& exec, const Settings& settings, const Text& text,
                                      const RouterChoice& router, const BalancerChoice& balancer, std::uint64_t seed,
                                      const std::function<bool(int step, double bits)>& watch);
