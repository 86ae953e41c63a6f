// A byte-level language model with two mixture-of-experts blocks, trained on real text beside a dense model of the same
// active size. model.hpp is the model, trainer.hpp a step of training, run.hpp the whole; --help says what to ask for.

#include "default_text.hpp"
#include "options.hpp"
#include "predictor.hpp"
#include "program.hpp"
#include "quantise.hpp"
#include "report.hpp"
#include "run.hpp"
#include "settings.hpp"
#include "text.hpp"
#include "xz.hpp"

#include <Kokkos_Core.hpp>

#include <cstdio>
#include <string>
#include <vector>

namespace {

void print_table(const std::vector<Result>& results, const std::vector<XzResult>& compressed) {
  std::printf("\n%-32s %11s %9s %20s %9s %8s\n", "", "parameters", "active", "held-out bits/byte", "time", "bytes/s");
  for (const Result& r : results) {
    std::printf("%-32s %9.2f M %7.2f M %20.4f %7.1f s %7.0fk\n", r.label.c_str(), double(r.parameters.total) / 1e6,
                double(r.parameters.active) / 1e6, r.held_out, r.seconds, r.bytes_per_second / 1000);
  }
  for (const XzResult& r : compressed)
    std::printf("%-32s %11s %9s %20.4f %7.1f s\n", r.label.c_str(), "", "", r.bits_per_byte, r.seconds);
  if (compressed.empty()) std::printf("%-32s there is no xz here\n", "xz -9");
}

int run(const Options& options, const std::string& command) {
  if (!options.quantise.empty()) {
    print_quantised(options.quantise);
    return 0;
  }
  const Exec exec;
  program::make_folder(options.out);
  const Setup setup = options.resume.empty() ? options.setup : Run::setup_of(options.resume);
  const Text text = read_text(setup.text, setup.max_bytes);
  std::printf("text      %zu bytes of %d files; held out: every tenth block of 4 kB, %zu bytes\n", text.bytes.size(),
              text.num_files, text.side(true).size());
  if (text.left_out > 0) std::printf("          %zu more bytes are left out (--max-bytes)\n", text.left_out);

  Run run(setup, text, options.out);
  if (!options.resume.empty()) run.resume(options.resume);
  program::catch_interrupts();
  int steps = 0;
  run.train(exec, [&] { return program::interrupted || (options.stop_after > 0 && steps++ >= options.stop_after); });
  if (run.results().empty()) return program::exit_interrupted;  // before the first step

  const std::vector<XzResult> compressed = xz::compare(text, options.out);
  print_table(run.results(), compressed);
  std::printf("\nThe mixture writes, at temperature %.1f:\n\n%s\n\n", sample_temperature,
              run.results().front().sample.c_str());
  const auto file = options.out / "report.html";
  report::write(file, report::data(exec, setup, text, run, compressed, command));
  std::printf("report: %s\n", file.c_str());
  return program::interrupted ? program::exit_interrupted : 0;
}

}  // namespace

int main(int argc, char** argv) {
  return program::run("moe_language_model", argc, argv, [&](const std::string& command) {
    const Options options = parse(argc, argv);
    const Kokkos::ScopeGuard kokkos;
    return run(options, command);
  });
}
