#include "options.hpp"

#include "error.hpp"
#include "progress.hpp"

#include <CLI/CLI.hpp>

#include <fnmatch.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace {

/// Those whose name one of the globs matches, in their own order.
/// \throws UsageError if a glob matches none.
template <class ChoiceT>
std::vector<ChoiceT> matching(const std::vector<ChoiceT>& all, const std::vector<std::string>& globs,
                              const char* what) {
  const auto matches = [](const std::string& glob, const ChoiceT& choice) {
    return fnmatch(glob.c_str(), choice.name.c_str(), 0) == 0;
  };
  std::string names;
  for (const ChoiceT& choice : all) names += (names.empty() ? "" : ", ") + choice.name;
  for (const std::string& glob : globs) {
    bool found = false;
    for (const ChoiceT& choice : all) found = found || matches(glob, choice);
    if (!found) throw UsageError(print("there is no %s '%s'; there are: %s", what, glob.c_str(), names.c_str()));
  }
  std::vector<ChoiceT> chosen;
  for (const ChoiceT& choice : all) {
    bool asked = globs.empty();
    for (const std::string& glob : globs) asked = asked || matches(glob, choice);
    if (asked) chosen.push_back(choice);
  }
  return chosen;
}

template <class ChoiceT>
void print_list(const char* title, const std::vector<ChoiceT>& all) {
  std::printf("%s\n", title);
  for (const ChoiceT& choice : all) std::printf("  %-16s %s\n", choice.name.c_str(), choice.what.c_str());
}

}  // namespace

Options parse(int argc, char** argv) {
  CLI::App app("Trains the language model of example 01 with every router and every balancer at equal active size.");
  app.footer(
      "Names may be globs: --routers '*top-k' --balancers none 'switch*'. Ctrl-C ends the run, leaves it out, writes "
      "the\n"
      "report of those before it and leaves with exit code 130; --resume goes on. A second Ctrl-C ends at once.");
  Options o;
  o.out = MOE_OUTPUT;
  Settings& s = o.settings;
  std::vector<std::string> routers, balancers;
  bool smoke = false, list = false;
  const auto number = [&](const char* name, auto& value, const char* what) {
    return app.add_option(name, value, what)->capture_default_str()->check(CLI::PositiveNumber);
  };
  app.add_option("--routers", routers, "Names of routers [all]");
  app.add_option("--balancers", balancers, "Names of balancers [all]");
  app.add_flag("--list", list, "Say what there is");
  number("--seeds", o.seeds, "Seeds for each pair: 1, 2, ...");
  number("--steps", s.training.steps, "Steps of training");
  number("--batch", s.training.batch, "Bytes predicted in a step");
  number("--micro-batches", s.training.micro_batches, "Parts of a batch: what all balancers but global and bias see");
  number("--experts", s.shape.experts, "Experts of a mixture");
  number("--top-k", s.shape.top_k, "Experts that a byte visits");
  number("--hidden", s.shape.hidden, "Width of a token");
  number("--intermediate", s.shape.intermediate, "Width inside an expert");
  number("--capacity", s.capacity, "Places of an expert over its even share; what has none is dropped [dropless]")
      ->default_str("");
  app.add_option("--text", s.text, "Files or folders to learn from [this repository and its Kokkos headers]");
  number("--max-bytes", s.max_bytes, "Text beyond these is left out");
  app.add_option("--out", o.out, "Folder for the report and the results")->capture_default_str();
  app.add_flag("--resume", o.resume, "Leave out the runs whose results stand in the folder already");
  number("--threads", o.threads, "Threads [all]")->default_str("");
  app.add_flag("--smoke", smoke, "A tiny model for a few steps, to see that everything works");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error) == 0 ? 0 : exit_usage);
  }
  if (list) {
    print_list("routers", all_routers());
    print_list("\nbalancers", all_balancers());
    std::exit(0);
  }

  o.routers = matching(all_routers(), routers, "router");
  o.balancers = matching(all_balancers(), balancers, "balancer");
  for (std::string& path : s.text) path = std::filesystem::absolute(path).string();
  if (smoke) {
    const auto unless_given = [&](const char* name, auto& value, auto tiny) {
      if (app.count(name) == 0) value = tiny;
    };
    unless_given("--seeds", o.seeds, 2);
    unless_given("--steps", s.training.steps, 8);
    unless_given("--batch", s.training.batch, 64);
    unless_given("--micro-batches", s.training.micro_batches, 2);
    unless_given("--experts", s.shape.experts, 4);
    unless_given("--hidden", s.shape.hidden, 16);
    unless_given("--intermediate", s.shape.intermediate, 16);
    unless_given("--max-bytes", s.max_bytes, 100'000);
    s.shape.embedding = 4;
    s.training.records = 4;
    s.training.held_out_bytes = 128;
    s.final_held_out_bytes = 256;
  }
  if (s.shape.top_k > s.shape.experts) {
    throw UsageError(
        print("--top-k is %d: a byte cannot visit more than the %d --experts", s.shape.top_k, s.shape.experts));
  }
  if (s.training.batch % s.training.micro_batches != 0) {
    throw UsageError(print("--batch is %d: it is no multiple of the %d --micro-batches", s.training.batch,
                           s.training.micro_batches));
  }
  return o;
}
