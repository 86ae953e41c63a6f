#pragma once

#include "error.hpp"
#include "mixture.hpp"
#include "model.hpp"
#include "predictor.hpp"
#include "progress.hpp"
#include "settings.hpp"
#include "text.hpp"
#include "trainer.hpp"

#include <moe/io/checkpoint.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

inline constexpr double sample_temperature = 0.7;
inline constexpr int sample_bytes = 400;

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ParameterCount, total, active)

/// What is known of a model at its end.
struct Result {
  std::string name;   ///< "mixture", "dense"
  std::string label;  ///< "mixture, 2 of 16 experts"
  ModelShape shape;
  ParameterCount parameters;
  int steps = 0;
  double seconds = 0;  ///< of training
  double bytes_per_second = 0;
  double held_out = 0;  ///< bits per byte
  std::vector<Record> records;
  std::string sample;  ///< printable
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Result, name, label, shape, parameters, steps, seconds, bytes_per_second, held_out,
                                   records, sample)

/// A run over both models, which can be stopped after any step and taken up again.
class Run {
 public:
  Run(const Setup& setup, const Text& text, std::filesystem::path out)
      : setup_(setup), text_(text), out_(std::move(out)) {}

  const std::vector<Result>& results() const { return results_; }
  std::filesystem::path state_file() const { return out_ / "state.safetensors"; }
  bool finished() const { return finished_; }

  /// Takes up a stopped run.
  static Setup setup_of(const std::filesystem::path& state) { return read_state(state).at("setup").get<Setup>(); }
  void resume(const std::filesystem::path& state) {
    const nlohmann::json run = read_state(state);
    if (run.at("text_digest") != text_.digest()) {
      throw UsageError("the text is not the one that the run in " + state.string() + " began with");
    }
    run.at("results").get_to(results_);
    state_ = state;
    state_of_ = run.at("learning");
  }

  /// Trains what is not yet trained. `stop` is asked before each step; what is stopped is saved.
  void train(const Exec& exec, const std::function<bool()>& stop) {
    const ModelShape& shape = setup_.shape;
    finished_ = learn(exec, "mixture", print("mixture, %d of %d experts", shape.top_k, shape.experts), shape, stop) &&
                (!setup_.with_dense || learn(exec, "dense", "dense, same active size", shape.dense(), stop));
  }

  /// Held-out text for the samples to go on from.
  std::string prompt() const { return text_.bytes.substr(text_.held_out.front() - context_bytes, context_bytes); }

 private:
  static nlohmann::json read_state(const std::filesystem::path& state) {
    const moe::SafetensorsReader file(state);
    if (!file.metadata().contains("run")) throw UsageError(state.string() + " is not the state of a stopped run");
    return nlohmann::json::parse(file.metadata().at("run"));
  }

  static auto model_of(const ModelShape& shape) {
    return LanguageModel(make_mixture(shape), shape.embedding, context_bytes);
  }

  /// Whether it is learnt to the end.
  bool learn(const Exec& exec, const std::string& name, const std::string& label, const ModelShape& shape,
             const std::function<bool()>& stop) {
    for (const Result& result : results_) {
      if (result.name == name) return true;  // before the run was stopped
    }
    Trainer trainer(exec, model_of(shape), setup_.settings, text_);
    if (name == state_of_) trainer.load(state_);
    const ParameterCount count = count_parameters(trainer.parameters(), shape);
    std::printf("%-8s  %.2f M parameters, %.2f M of them active for a byte\n", name.c_str(), double(count.total) / 1e6,
                double(count.active) / 1e6);
    loop(name, trainer, stop);
    if (!trainer.done()) save_state(trainer, name);
    if (trainer.steps_done() == 0) return false;

    results_.push_back({.name = name,
                        .label = label,
                        .shape = shape,
                        .parameters = count,
                        .steps = trainer.steps_done(),
                        .seconds = trainer.seconds(),
                        .bytes_per_second = trainer.bytes_per_second(),
                        .held_out = trainer.held_out(),
                        .records = trainer.records(),
                        .sample = text::printable(trainer.predictor().write(
                            trainer.parameters(), prompt(), sample_bytes, sample_temperature, setup_.settings.seed))});
    save_and_read_back(exec, trainer, results_.back());
    return trainer.done();
  }

  template <class TrainerT>
  void loop(const std::string& name, TrainerT& trainer, const std::function<bool()>& stop) const {
    using Clock = std::chrono::steady_clock;
    const int first = trainer.steps_done(), steps = setup_.settings.steps;
    const auto start = Clock::now();
    Progress progress(name, first, steps);
    while (!trainer.done() && !stop()) {
      trainer.step();
      const int done = trainer.steps_done();
      const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
      const auto& records = trainer.records();
      const Record& record = records.empty() ? trainer.current() : records.back();
      progress.show({.step = done,
                     .training = record.training,
                     .held_out = record.held_out,
                     .bytes_per_second = trainer.bytes_per_second(),
                     .imbalance = record.imbalance(),
                     .seconds_left = elapsed / (done - first) * (steps - done)});
    }
  }

  /// The parameters alone, for whoever uses the model; read into a fresh one, they must predict the same.
  template <class TrainerT>
  void save_and_read_back(const Exec& exec, const TrainerT& trainer, const Result& result) const {
    const auto file = out_ / (result.name + ".safetensors");
    moe::save(file,
              {{"shape", nlohmann::json(result.shape).dump()},
               {"setup", nlohmann::json(setup_).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)},
               {"text_digest", std::to_string(text_.digest())}},
              trainer.parameters());
    const auto fresh = model_of(result.shape);
    const auto parameters = fresh.parameters(exec, setup_.settings.seed + 1);
    moe::load(file, parameters);
    const double again = Predictor(exec, fresh).bits_per_byte(parameters, text_, text_.held_out);
    if (again != result.held_out) {
      throw std::runtime_error(
          print("%s gives %.17g bits per byte, the model in memory %.17g", file.c_str(), again, result.held_out));
    }
    std::printf("          held out: %.4f bits/byte, and the same from %s\n", again, file.c_str());
  }

  template <class TrainerT>
  void save_state(const TrainerT& trainer, const std::string& learning) const {
    trainer.save(state_file(),
                 {{"setup", setup_}, {"text_digest", text_.digest()}, {"results", results_}, {"learning", learning}});
    std::printf("          stopped after step %d; go on with --resume %s\n", trainer.steps_done(),
                state_file().c_str());
  }

  Setup setup_;
  const Text& text_;
  std::filesystem::path out_;
  std::vector<Result> results_;  ///< when a state is saved: of the models that are finished
  std::filesystem::path state_;
  std::string state_of_;  ///< the model whose tensors the state has
  bool finished_ = false;
};
