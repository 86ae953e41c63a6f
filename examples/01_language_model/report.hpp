#pragma once

#include "default_text.hpp"
#include "page.hpp"
#include "predictor.hpp"
#include "report_html.hpp"  // report.html as a string, made by CMake
#include "run.hpp"
#include "settings.hpp"
#include "text.hpp"
#include "xz.hpp"

#include <moe/version.hpp>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace report {

/// What report.html draws.
inline nlohmann::json data(const Exec& exec, const Setup& setup, const Text& text, const Run& run,
                           const std::vector<XzResult>& compressed, const std::string& command) {
  const Result& mixture = run.results().front();
  const std::string threads =
      print("%d %s (Kokkos' %s)", exec.concurrency(), exec.concurrency() == 1 ? "thread" : "threads", exec.name());
  nlohmann::json xz = nlohmann::json::array();
  for (const XzResult& r : compressed) {
    xz.push_back({{"label", r.label}, {"held_out", r.bits_per_byte}, {"seconds", r.seconds}});
  }
  if (xz.empty()) xz.push_back({{"label", "xz -9: not installed here"}});
  const TrainingSettings& s = setup.settings;
  return {
      {"text", {{"files", text.num_files}, {"training", text.training.size()}, {"held_out", text.held_out.size()}}},
      {"settings", s},
      {"finished", run.finished()},
      {"machine", threads},
      {"models", run.results()},
      {"xz", xz},
      {"sample",
       {{"prompt", text::printable(run.prompt())},
        {"text", mixture.sample},
        {"count", sample_bytes},
        {"temperature", print("%.1f", sample_temperature)}}},
      {"configuration",
       nlohmann::json::array({
           {"command", command},
           {"text", setup.text.empty() ? default_text : nlohmann::json(setup.text).dump()},
           {"held out",
            "every tenth block of 4 kB; a byte is predicted where the 16 bytes before it lie on its side of the cut"},
           {"model",
            print("16 embeddings of %d side by side, projected to %d; twice x + mixture(norm(x)); norm; 256 logits",
                  mixture.shape.embedding, mixture.shape.hidden)},
           {"mixture", print("%d experts (SwiGLU, %d wide), %d for each byte: softmax, the largest, normalised; "
                             "losses: Switch 0.05, z 0.001",
                             mixture.shape.experts, mixture.shape.intermediate, mixture.shape.top_k)},
           {"training",
            print("%d steps of %d bytes, AdamW, rate %g after a warm-up of %d steps, then a cosine; weight decay "
                  "%g, gradients clipped at %g",
                  s.steps, s.batch, s.learning_rate, s.steps / 20, s.weight_decay, s.max_norm)},
           {"seed", std::to_string(s.seed)},
           {"ran on", threads},
           {"moe", moe::version},
       })}};
}

inline void write(const std::filesystem::path& path, const nlohmann::json& data) {
  page::write(path, report_html, data);
}

}  // namespace report
