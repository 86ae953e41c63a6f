#pragma once

#include "layer.hpp"
#include "subject.hpp"

#include "../../examples/01_language_model/mixture.hpp"
#include "../../examples/01_language_model/model.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace peers {

/// Training of example 01's model, without its reports: forward, loss, backward, clipping and AdamW, on batches of text.
class LanguageModel final : public Subject {
 public:
  /// `text` holds ids.N [batches, N, context] and targets.N [batches, N].
  LanguageModel(const Sizes& sizes, const moe::SafetensorsReader& weights, const moe::SafetensorsReader& text)
      : tokens_(sizes.tokens.at(0)),
        context_(int(text.entries().at("ids." + std::to_string(tokens_)).shape.at(2))),
        shape_{
            .experts = sizes.experts, .top_k = sizes.top_k, .intermediate = sizes.intermediate, .hidden = sizes.hidden},
        model_(make_mixture(shape_), shape_.embedding, context_),
        parameters_(model_.parameters(exec_)),
        gradients_(model_.gradients(exec_)),
        tape_(model_.tape(exec_, tokens_)),
        workspace_(model_.workspace(exec_, tokens_)),
        state_(optimiser_.state(exec_, parameters_, gradients_)),
        norm_(clip_.workspace(exec_, gradients_)),
        loss_(cross_entropy_.workspace(exec_, tokens_)),
        logits_("logits", tokens_, decltype(model_)::alphabet) {
    read_parameters(weights, parameters_);
    const int batches = sizes.batches.at(0);
    const std::string suffix = "." + std::to_string(tokens_);
    const auto ids = text.read<std::int32_t>("ids" + suffix, {batches, tokens_, context_});
    const auto targets = text.read<std::int32_t>("targets" + suffix, {batches, tokens_});
    for (int b = 0; b < batches; ++b) {
      ids_.emplace_back("ids", tokens_, context_);
      targets_.emplace_back("targets", tokens_);
      std::copy_n(ids.data() + b * ids_[b].size(), ids_[b].size(), ids_[b].data());
      std::copy_n(targets.data() + b * tokens_, tokens_, targets_[b].data());
    }
  }

  void run(const Job& job) override {
    if (job.task != "model step") throw Cannot("there is no task '" + job.task + "' of the language model");
    model_.forward(exec_, parameters_, moe::inputs(ids_.at(job.batch)), logits_, tape_, workspace_);
    cross_entropy_(exec_, logits_, targets_.at(job.batch), logits_, loss_);  // the logits become their gradient
    model_.backward(exec_, parameters_, tape_, logits_, gradients_, workspace_);
    clip_(exec_, norm_, gradients_);
    optimiser_.step(exec_, parameters_, gradients_, state_);
    model_.update(exec_, parameters_, tape_);
  }

  void results(const Job&, moe::SafetensorsWriter& file) override {
    file.add<float>("loss", {1}, [this] { return std::vector<float>{loss_.mean(0)}; });
    add_tensors(file, "parameter.", parameters_, shape_.experts);
  }

 private:
  Exec exec_;
  int tokens_, context_;
  ModelShape shape_;
  ::LanguageModel<decltype(make_mixture(shape_))> model_;
  decltype(model_.parameters(exec_)) parameters_, gradients_;
  decltype(model_.tape(exec_, 0)) tape_;
  decltype(model_.workspace(exec_, 0)) workspace_;
  moe::AdamW optimiser_{.learning_rate = 1e-4, .beta2 = 0.99, .weight_decay = 0.1};
  moe::AdamW::State<Exec> state_;
  moe::ClipNorm clip_{.max_norm = 1};
  moe::ClipNorm::Workspace<Exec> norm_;
  moe::CrossEntropy cross_entropy_;
  decltype(cross_entropy_.workspace(exec_, 0)) loss_;
  Matrix<float> logits_;
  std::vector<Matrix<std::uint8_t>> ids_;
  std::vector<Kokkos::View<std::uint8_t*, Exec::memory_space>> targets_;
};

}  // namespace peers
