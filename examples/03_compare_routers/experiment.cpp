// The one translation unit that trains: model and trainer are those of the language model's example, the mixture is this
// one's, whose policies are chosen at run time.

#include "experiment.hpp"

#include "any_router.hpp"
#include "maybe_capacity.hpp"
#include "model.hpp"
#include "trainer.hpp"

#include <moe/moe.hpp>

#include <algorithm>
#include <cmath>
#include <span>

namespace {

constexpr double last_part = 0.25;  ///< of training, over which loads are taken

ModelShape shape_of(const RouterChoice& router, ModelShape shape) {
  if (router.takes_all_experts) shape.intermediate = std::max(1, shape.intermediate * shape.top_k / shape.experts);
  return shape;
}

auto make_mixture(const RouterChoice& router, const BalancerChoice& balancer, const Settings& settings,
                  std::uint64_t seed) {
  const ModelShape shape = shape_of(router, settings.shape);
  MaybeCapacity dispatcher;
  if (settings.capacity > 0) dispatcher.capacity = moe::Capacity<>{.factor = settings.capacity};
  return moe::Layer{moe::Shape<>{.experts = shape.experts, .hidden = shape.hidden, .intermediate = shape.intermediate},
                    router.make(shape, seed), moe::SwiGlu{}, balancer.policy, dispatcher};
}

/// The loads of the last part of training, the mean over the mixtures.
void measure_load(const std::vector<Record>& records, int steps, Outcome& outcome) {
  std::vector<std::vector<double>> load;
  std::vector<double> dropped;
  double tokens = 0;
  for (const Record& record : records) {
    if (record.step <= (1 - last_part) * steps) continue;
    load.resize(record.load.size(), std::vector<double>(record.load[0].size()));
    dropped.resize(record.load.size());
    tokens += double(record.tokens);
    for (std::size_t m = 0; m < load.size(); ++m) {
      dropped[m] += double(record.dropped[m]);
      for (std::size_t e = 0; e < load[m].size(); ++e) load[m][e] += double(record.load[m][e]);
    }
  }
  for (std::size_t m = 0; m < load.size(); ++m) {
    const double experts = double(load[m].size()), share = 1 / double(load.size());
    double sum = 0, largest = 0, entropy = 0;
    for (const double n : load[m]) sum += n, largest = std::max(largest, n);
    for (const double n : load[m]) entropy -= n > 0 ? n / sum * std::log(n / sum) : 0;
    outcome.experts_per_token += share * sum / tokens;
    if (sum == 0) continue;  // a router that gives no token any expert
    outcome.load_entropy += share * (experts > 1 ? entropy / std::log(experts) : 1);
    outcome.imbalance += share * largest * experts / sum;
    outcome.dropped += share * dropped[m] / sum;
  }
}

}  // namespace

std::optional<Outcome> run_experiment(const Exec& exec, const Settings& settings, const Text& text,
                                      const RouterChoice& router, const BalancerChoice& balancer, std::uint64_t seed,
                                      const std::function<bool(int step, double bits)>& watch) {
  TrainingSettings training = settings.training;
  training.seed = seed;
  const auto mixture = make_mixture(router, balancer, settings, seed);
  Trainer trainer(exec, LanguageModel(mixture, settings.shape.embedding, context_bytes), training, text);
  trainer.visit([](const auto& layer, auto& tape) { layer.router().describe(tape.routing); });

  while (!trainer.done()) {
    trainer.step();
    const Record& record =
        trainer.current().step > 0 || trainer.records().empty() ? trainer.current() : trainer.records().back();
    if (!watch(trainer.steps_done(), record.training)) return std::nullopt;
  }

  Outcome outcome{.router = router.name, .balancer = balancer.name, .seed = seed};
  std::vector<std::uint32_t> positions(
      std::min<std::size_t>(std::size_t(settings.final_held_out_bytes), text.held_out.size()));
  for (std::size_t i = 0; i < positions.size(); ++i) {
    positions[i] = text.held_out[i * text.held_out.size() / positions.size()];
  }
  outcome.bits_per_byte = trainer.predictor().bits_per_byte(trainer.parameters(), text, positions);
  measure_load(trainer.records(), training.steps, outcome);
  outcome.seconds = trainer.seconds();
  for (const Record& record : trainer.records())
    outcome.curve.push_back({record.step, record.training, record.held_out});
  return outcome;
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

namespace {

/// JSON has no NaN.
double number(const nlohmann::json& json) {
  return json.is_null() ? std::numeric_limits<double>::quiet_NaN() : json.get<double>();
}

}  // namespace

void to_json(nlohmann::json& json, const Outcome& o) {
  nlohmann::json curve = nlohmann::json::array();
  for (const Point& point : o.curve) curve.push_back({point.step, point.training, point.held_out});
  json = {{"router", o.router},
          {"balancer", o.balancer},
          {"seed", o.seed},
          {"bits_per_byte", o.bits_per_byte},
          {"load_entropy", o.load_entropy},
          {"imbalance", o.imbalance},
          {"dropped", o.dropped},
          {"experts_per_token", o.experts_per_token},
          {"seconds", o.seconds},
          {"curve", curve}};
}

void from_json(const nlohmann::json& json, Outcome& o) {
  o.router = json.at("router");
  o.balancer = json.at("balancer");
  o.seed = json.at("seed");
  o.bits_per_byte = number(json.at("bits_per_byte"));
  o.load_entropy = number(json.at("load_entropy"));
  o.imbalance = number(json.at("imbalance"));
  o.dropped = number(json.at("dropped"));
  o.experts_per_token = number(json.at("experts_per_token"));
  o.seconds = number(json.at("seconds"));
  o.curve.clear();
  for (const auto& point : json.at("curve")) o.curve.push_back({point.at(0), number(point.at(1)), number(point.at(2))});
}
