// A laboratory for routing: every router with every balancer on the language model of example 01, at equal active size and
// with equal seeds. The mixture's policies are chosen at run time by three policies of this example's own: AnyRouter
// (any_router.hpp), OneOf (one_of.hpp) and MaybeCapacity (maybe_capacity.hpp); so the model is compiled once. To try a
// router of your own, add it to a file in routers/; a balancer, to balancers.hpp and balancers.cpp.

#include "default_text.hpp"
#include "experiment.hpp"
#include "options.hpp"
#include "pairs.hpp"
#include "program.hpp"
#include "progress.hpp"
#include "report.hpp"
#include "results.hpp"

#include <Kokkos_Core.hpp>

#include <chrono>
#include <cstdio>
#include <optional>
#include <string>

namespace {

/// [=====     ]  7/24  sigmoid-top-k, switch, seed 2: step 120/400, 3.21 bits/byte  12:30 left
class Bar {
 public:
  Bar(int runs, int steps) : runs_(runs), steps_(steps) {}

  void step(int run, const std::string& name, int step, double bits) {
    ++steps_done_;
    if (!line_.terminal() || !line_.due()) return;
    const int full = int(20.0 * (run + double(step) / steps_) / runs_);
    line_.show(print("[%-20s] ", std::string(std::size_t(full), '=').c_str()) + count(run) + "  " + name +
               print(": step %d/%d, %.3f bits/byte  ", step, steps_, bits) + left(run));
  }
  void done(int run, const std::string& name, double bits) {
    if (!line_.terminal()) line_.show(count(run) + "  " + name + print(": %.4f bits/byte  ", bits) + left(run));
  }
  /// A run that need not be made.
  void skip() { ++skipped_; }

 private:
  std::string count(int run) const { return print("%*d/%d", int(std::to_string(runs_).size()), run + 1, runs_); }
  std::string left(int run) const {
    const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    const double all = double(runs_ - skipped_) * steps_, rest = all - double(steps_done_);
    return run + 1 == runs_ && rest <= 0 ? "done" : minutes(elapsed / double(steps_done_) * rest) + " left";
  }

  int runs_;
  int steps_;
  int skipped_ = 0;
  long steps_done_ = 0;
  Line line_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Makes all runs that are missing, seed by seed, so that a comparison that is stopped has something of all pairs.
void make_runs(const Options& options, const Pairs& pairs, const Text& text, Results& results) {
  const Exec exec;
  const int num_pairs = int(pairs.tried.size()), runs = num_pairs * options.seeds;
  const auto seed_of = [&](int run) { return std::uint64_t(run / num_pairs + 1); };
  const auto pair_of = [&](int run) -> const Pair& { return pairs.tried[std::size_t(run % num_pairs)]; };
  const auto stands = [&](int run) {
    return results.has(pair_of(run).router.name, pair_of(run).balancer.name, seed_of(run));
  };
  Bar bar(runs, options.settings.training.steps);
  for (int run = 0; run < runs; ++run) {
    if (stands(run)) bar.skip();
  }
  for (int run = 0; run < runs; ++run) {
    if (stands(run)) continue;
    const Pair& pair = pair_of(run);
    const std::string name = pair.router.name + ", " + pair.balancer.name + ", seed " + std::to_string(seed_of(run));
    const auto watch = [&](int step, double bits) {
      bar.step(run, name, step, bits);
      return !program::interrupted;
    };
    const std::optional<Outcome> outcome =
        run_experiment(exec, options.settings, text, pair.router, pair.balancer, seed_of(run), watch);
    if (!outcome) return;
    results.add(*outcome);
    bar.done(run, name, outcome->bits_per_byte);
  }
}

int run(const Options& options, const std::string& command) {
  program::make_folder(options.out);
  const Text text = read_text(options.settings.text, options.settings.max_bytes);
  Results results(options.out / "results.json", options.settings, text.digest());
  options.resume ? results.resume() : results.set_aside();
  const Pairs pairs =
      pairs_of(options.routers, options.balancers, options.settings.shape, options.settings.training.micro_batches);
  if (pairs.tried.empty()) throw UsageError("none of these routers goes with one of these balancers");
  std::printf("text      %zu bytes of %d files\nruns      %zu pairs of router and balancer, %d seeds, %d steps each\n",
              text.bytes.size(), text.num_files, pairs.tried.size(), options.seeds, options.settings.training.steps);

  program::catch_interrupts();
  make_runs(options, pairs, text, results);
  if (results.outcomes().empty()) return program::exit_interrupted;  // before the end of the first run

  const std::vector<Row> rows = table(results.outcomes());
  print_table(rows);
  const auto file = options.out / "report.html";
  write_report(file, options, pairs, rows, text, command);
  std::printf("\nreport: %s\n", file.c_str());
  return program::interrupted ? program::exit_interrupted : 0;
}

}  // namespace

int main(int argc, char** argv) {
  return program::run("moe_compare_routers", argc, argv, [&](const std::string& command) {
    const Options options = parse(argc, argv);
    Kokkos::InitializationSettings kokkos_settings;
    if (options.threads > 0) kokkos_settings.set_num_threads(options.threads);
    const Kokkos::ScopeGuard kokkos(kokkos_settings);
    return run(options, command);
  });
}
