// A byte-level language model with two mixture-of-experts blocks, trained on real text beside a dense model of the same
// active size. model.hpp is the model, trainer.hpp a step of training, run.hpp the whole; --help says what to ask for.

#include "error.hpp"
#include "options.hpp"
#include "predictor.hpp"
#include "quantise.hpp"
#include "report.hpp"
#include "run.hpp"
#include "settings.hpp"
#include "text.hpp"
#include "xz.hpp"

#include <moe/core/error.hpp>

#include <unistd.h>
#include <Kokkos_Core.hpp>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

constexpr int exit_interrupted = 130;  // Ctrl-C, as a shell says it; the files are written all the same

std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void on_interrupt(int signal) {
  interrupted = true;
  std::signal(signal, SIG_DFL);  // a second one ends the program
}

/// Threads that wait must sleep, not spin: spinning beside another program, each of some hundred kernels a step would wait
/// until the scheduler lets the last thread go on. OpenMP reads this when the program is loaded, so it is started again.
void set_up_openmp(char** argv) {
  setenv("OMP_PROC_BIND", "false", 0);  // the default, but Kokkos wants it said
  if (std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("OMP_WAIT_POLICY", "passive", 1);
  execv("/proc/self/exe", argv);  // where this fails, all goes on as it is
}

/// Creates the folder where it is missing, and tries whether it can be written.
void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  const auto probe = folder / ".writable";
  const bool writable = !error && (std::ofstream(probe) << '\n').flush();
  std::filesystem::remove(probe, error);
  if (!writable) throw UsageError("cannot write to the folder " + folder.string());
}

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
  make_folder(options.out);
  const Setup setup = options.resume.empty() ? options.setup : Run::setup_of(options.resume);
  const Text text = read_text(setup);
  std::printf("text      %zu bytes of %d files; held out: every tenth block of 4 kB, %zu bytes\n", text.bytes.size(),
              text.num_files, text.side(true).size());
  if (text.left_out > 0) std::printf("          %zu more bytes are left out (--max-bytes)\n", text.left_out);

  Run run(setup, text, options.out);
  if (!options.resume.empty()) run.resume(options.resume);
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  int steps = 0;
  run.train(exec, [&] { return interrupted || (options.stop_after > 0 && steps++ >= options.stop_after); });
  if (run.results().empty()) return exit_interrupted;  // before the first step

  const std::vector<XzResult> compressed = xz::compare(text, options.out);
  print_table(run.results(), compressed);
  std::printf("\nThe mixture writes, at temperature %.1f:\n\n%s\n\n", sample_temperature,
              run.results().front().sample.c_str());
  const auto file = options.out / "report.html";
  report::write(file, report::data(exec, setup, text, run, compressed, command));
  std::printf("report: %s\n", file.c_str());
  return interrupted ? exit_interrupted : 0;
}

}  // namespace

int main(int argc, char** argv) {
  set_up_openmp(argv);
  std::string command = "moe_language_model";
  for (int i = 1; i < argc; ++i) command += std::string(" ") + argv[i];
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // a line at a time, into files and pipes too
  try {
    const Options options = parse(argc, argv);
    const Kokkos::ScopeGuard kokkos;
    return run(options, command);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "moe_language_model: %s\n", error.what());
    // moe::Error: a file that cannot be read or written, a size that does not fit
    const bool can_be_mended = dynamic_cast<const UsageError*>(&error) || dynamic_cast<const moe::Error*>(&error);
    return can_be_mended ? exit_usage : 1;
  }
}
