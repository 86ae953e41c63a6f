#include "options.hpp"

#include "error.hpp"
#include "progress.hpp"

#include <CLI/CLI.hpp>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

Options parse(int argc, char** argv) {
  CLI::App app(
      "Trains a byte-level language model with two mixture-of-experts blocks, and a dense one for comparison.");
  Options o;
  o.out = MOE_OUTPUT;
  Setup& setup = o.setup;
  bool no_dense = false, smoke = false;
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
  auto* const resume =
      app.add_option("--resume", o.resume,
                     "Go on with a stopped run, from its state.safetensors; writes beside it unless there is --out");
  auto* const quantise = app.add_option(
      "--quantise", o.quantise,
      "Train nothing: read a trained model, mixture.safetensors, and print what it costs to store its weights in less");
  for (CLI::Option* const option : fixed_by_a_run) option->excludes(resume)->excludes(quantise);
  quantise->excludes(resume);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error) == 0 ? 0 : exit_usage);
  }

  if (app.count("--resume") > 0 && app.count("--out") == 0) o.out = std::filesystem::absolute(o.resume).parent_path();
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
    setup.settings.records = 8;
    setup.settings.held_out_bytes = 256;
  }
  if (setup.shape.top_k > setup.shape.experts) {
    throw UsageError(
        print("--top-k is %d: a byte cannot visit more than the %d --experts", setup.shape.top_k, setup.shape.experts));
  }
  return o;
}
