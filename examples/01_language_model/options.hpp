#pragma once

#include "error.hpp"
#include "model.hpp"
#include "progress.hpp"
#include "text.hpp"
#include "trainer.hpp"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

/// All that the figures depend on: what a stopped run is taken up with.
struct Setup {
  std::vector<std::string> text;  ///< files and folders; none: the default
  std::size_t max_bytes = 2'000'000;
  ModelShape shape;
  TrainingSettings settings;
  bool with_dense = true;

  Text read_text() const {
    std::vector<std::filesystem::path> paths(text.begin(), text.end());
    if (paths.empty()) {
      paths = text::files_in(MOE_REPOSITORY);
      std::istringstream folders(MOE_KOKKOS_INCLUDES);
      for (std::string folder; std::getline(folders, folder, ':');) {
        for (auto& file : text::files_in(folder, "Kokkos_")) paths.push_back(std::move(file));
      }
    }
    return text::read(paths, max_bytes);
  }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Setup, text, max_bytes, shape, settings, with_dense)

struct Options {
  Setup setup;
  std::filesystem::path out = MOE_OUTPUT;
  std::filesystem::path resume;
  int stop_after = 0;
};

/// \throws CLI::ParseError, also where only help was asked for.
inline Options parse(CLI::App& app, int argc, char** argv) {
  Options o;
  Setup& setup = o.setup;
  bool no_dense = false, smoke = false;
  app.description(
      "Trains a byte-level language model with two mixture-of-experts blocks, and a dense one for comparison.");
  app.footer("Ctrl-C ends after the step, writes everything and leaves with exit code 130; a second one ends at once.");
  const auto number = [&](const char* name, auto& value, const char* what) {
    return app.add_option(name, value, what)->capture_default_str()->check(CLI::PositiveNumber);
  };
  const std::vector<CLI::Option*> fixed_by_a_run = {
      app.add_option("--text", setup.text, "Files or folders to learn from [this repository and its Kokkos headers]"),
      number("--max-bytes", setup.max_bytes, "Text beyond these is left out"),
      number("--steps", setup.settings.steps, "Steps of training, for each model"),
      number("--experts", setup.shape.experts, "Experts of a mixture"),
      number("--top-k", setup.shape.top_k, "Experts that a byte visits"),
      app.add_option("--seed", setup.settings.seed, "Seed of weights, order and sample")->capture_default_str(),
      app.add_flag("--no-dense", no_dense, "Leave out the dense model"),
      app.add_flag("--smoke", smoke, "A tiny model for a few steps, to see that everything works")};
  app.add_option("--out", o.out, "Folder for the report and the parameters")->capture_default_str();
  number("--stop-after", o.stop_after, "Stop after so many steps; --resume goes on")->default_str("");
  auto* const resume = app.add_option("--resume", o.resume, "Go on with a stopped run, from its state.safetensors");
  for (CLI::Option* const option : fixed_by_a_run) option->excludes(resume);
  app.parse(argc, argv);

  for (std::string& path : setup.text) path = std::filesystem::absolute(path).string();
  setup.with_dense = !no_dense;
  if (smoke) {
    const auto unless_given = [&](const char* name, auto& value, auto tiny) {
      if (app.count(name) == 0) value = tiny;
    };
    unless_given("--experts", setup.shape.experts, 4);
    unless_given("--steps", setup.settings.steps, 24);
    unless_given("--max-bytes", setup.max_bytes, 100'000);
    setup.shape.hidden = setup.shape.intermediate = 32;
    setup.shape.embedding = 8;
    setup.settings.batch = 128;
    setup.settings.warmup = 4;
    setup.settings.records = 8;
    setup.settings.held_out_bytes = 256;
  }
  if (setup.shape.top_k > setup.shape.experts) {
    throw UsageError(
        print("--top-k is %d: a byte cannot visit more than the %d --experts", setup.shape.top_k, setup.shape.experts));
  }
  return o;
}

/// Creates the folder where it is missing, and tries whether it can be written.
inline void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  const auto probe = folder / ".writable";
  const bool writable = !error && (std::ofstream(probe) << '\n').flush();
  std::filesystem::remove(probe, error);
  if (!writable) throw UsageError("cannot write to the folder " + folder.string());
}
