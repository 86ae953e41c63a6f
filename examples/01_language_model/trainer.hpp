#pragma once

#include "predictor.hpp"
#include "settings.hpp"

#include <moe/io/checkpoint.hpp>
#include <moe/moe.hpp>

#include <Kokkos_Core.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <numbers>
#include <string>
#include <vector>

/// What is known after some steps: a point of the curves and a column of the heat maps.
struct Record {
  int step = 0;
  double training = 0;                          ///< bits per byte, the mean since the last record
  double held_out = 0;                          ///< bits per byte, on the same few bytes each time
  std::vector<std::vector<std::int64_t>> load;  ///< [mixture][expert], tokens since the last record

  /// The busiest expert's load over the mean, in the mixture where that is worst.
  double imbalance() const {
    double worst = 1;
    for (const auto& experts : load) {
      double sum = 0, largest = 0;
      for (const std::int64_t n : experts) sum += double(n), largest = std::max(largest, double(n));
      if (sum > 0) worst = std::max(worst, largest * double(experts.size()) / sum);
    }
    return worst;
  }
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Record, step, training, held_out, load)

/// A model in training.
class Trainer {
 public:
  Trainer(const Exec& exec, const ModelShape& shape, const TrainingSettings& settings, const Text& text)
      : exec_(exec),
        settings_(settings),
        text_(text),
        model_(shape, context_bytes),
        parameters_(model_.parameters(exec, settings.seed)),
        gradients_(model_.gradients(exec)),
        tape_(model_.tape(exec, settings.batch)),
        workspace_(model_.workspace(exec, settings.batch)),
        schedule_{
            .peak = settings.learning_rate, .warmup = settings.steps / 20, .steps = settings.steps, .floor = 0.02},
        optimiser_{.beta2 = 0.99, .weight_decay = settings.weight_decay},
        optimiser_state_(optimiser_.state(exec, parameters_, gradients_)),
        clip_{.max_norm = settings.max_norm},
        norm_(clip_.workspace(exec, gradients_)),
        loss_(cross_entropy_.workspace(exec, settings.batch)),
        batch_(settings.batch),
        logits_("logits", settings.batch, LanguageModel::alphabet),
        order_(text.training, settings.seed),
        positions_(settings.batch),
        predictor_(exec, model_) {
    // A few held-out bytes, evenly spread, for the curve.
    const std::size_t count = std::min<std::size_t>(settings.held_out_bytes, text.held_out.size());
    for (std::size_t i = 0; i < count; ++i) few_held_out_.push_back(text.held_out[i * text.held_out.size() / count]);
  }

  const LanguageModel& model() const { return model_; }
  const Parameters& parameters() const { return parameters_; }
  Predictor<>& predictor() { return predictor_; }
  const std::vector<Record>& records() const { return records_; }
  int steps_done() const { return int(optimiser_state_.steps.value); }
  bool done() const { return steps_done() >= settings_.steps; }
  double seconds() const { return seconds_; }
  double bytes_per_second() const { return seconds_ > 0 ? timed_steps_ * double(settings_.batch) / seconds_ : 0; }
  /// The record that is being made.
  const Record& current() const { return current_; }

  /// One step of training.
  void step() {
    const auto start = std::chrono::steady_clock::now();
    const int n = steps_done();
    for (int i = 0; i < settings_.batch; ++i) positions_[i] = order_[std::uint64_t(n) * settings_.batch + i];
    batch_.fill(exec_, text_.bytes, positions_);

    model_.forward(exec_, parameters_, batch_.ids(), logits_, tape_, workspace_);
    cross_entropy_(exec_, logits_, batch_.targets(), logits_, loss_);  // the logits become their gradient
    model_.backward(exec_, parameters_, tape_, logits_, gradients_, workspace_);
    clip_(exec_, norm_, gradients_);
    optimiser_.step(exec_, parameters_, gradients_, optimiser_state_, schedule_(n + 1));
    note_load();
    model_.update(exec_, parameters_, tape_);

    const double bits = double(read(exec_, loss_.mean)) / std::numbers::ln2;
    const int in_record = steps_in_record_++;
    current_.training += (bits - current_.training) / (in_record + 1);
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    ++timed_steps_;
    current_.step = n + 1;
    if (std::int64_t(n + 1) * settings_.records / settings_.steps >
        std::int64_t(n) * settings_.records / settings_.steps) {
      finish_record();
    }
  }

  /// Bits per byte on all held-out bytes.
  double held_out() { return predictor_.bits_per_byte(parameters_, text_, text_.held_out); }

  /// All that training goes on from with the same bits: parameters, optimiser, curves; and whatever else the caller wants to
  /// find there.
  void save(const std::filesystem::path& path, const nlohmann::json& run) const {
    const nlohmann::json progress = {{"records", records_},
                                     {"current", current_},
                                     {"steps_in_record", steps_in_record_},
                                     {"seconds", seconds_},
                                     {"timed_steps", timed_steps_}};
    moe::save(path, {{"run", text_of(run)}, {"progress", text_of(progress)}}, parameters_, optimiser_state_);
  }
  void load(const std::filesystem::path& path) {
    moe::load(path, parameters_, optimiser_state_);
    const auto progress = nlohmann::json::parse(moe::SafetensorsReader(path).metadata().at("progress"));
    progress.at("records").get_to(records_);
    progress.at("current").get_to(current_);
    progress.at("steps_in_record").get_to(steps_in_record_);
    progress.at("seconds").get_to(seconds_);
    progress.at("timed_steps").get_to(timed_steps_);
  }

 private:
  static std::string text_of(const nlohmann::json& json) {
    return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);  // a path may be no UTF-8
  }

  void note_load() {
    std::size_t mixture = 0;
    model_.visit(tape_, [&](const auto&, const auto& tape) {
      const auto load = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), tape.load);
      exec_.fence();
      if (current_.load.size() <= mixture) current_.load.emplace_back(load.extent(0));
      for (std::size_t e = 0; e < load.extent(0); ++e) current_.load[mixture][e] += load(e);
      ++mixture;
    });
  }
  void finish_record() {
    current_.held_out = predictor_.bits_per_byte(parameters_, text_, few_held_out_);
    records_.push_back(std::move(current_));
    current_ = {};
    steps_in_record_ = 0;
  }

  Exec exec_;
  TrainingSettings settings_;
  const Text& text_;
  LanguageModel model_;
  Parameters parameters_;
  Parameters gradients_;
  decltype(model_.tape(exec_, 0)) tape_;
  decltype(model_.workspace(exec_, 0)) workspace_;
  moe::CosineSchedule schedule_;
  moe::AdamW optimiser_;
  moe::AdamW::State<Exec> optimiser_state_;
  moe::ClipNorm clip_;
  moe::ClipNorm::Workspace<Exec> norm_;
  moe::CrossEntropy cross_entropy_;
  decltype(cross_entropy_.workspace(exec_, 0)) loss_;
  Batch batch_;
  Matrix<float> logits_;
  Shuffled order_;
  std::vector<std::uint32_t> positions_;
  Predictor<> predictor_;
  std::vector<std::uint32_t> few_held_out_;

  std::vector<Record> records_;
  Record current_;
  int steps_in_record_ = 0;
  double seconds_ = 0;
  int timed_steps_ = 0;
};
