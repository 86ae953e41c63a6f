#pragma once

#include "error.hpp"

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

/// \file
/// What a program that trains does around its training.

namespace program {

inline constexpr int exit_interrupted = 130;  // Ctrl-C, as a shell says it; the files are written all the same

inline std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" inline void moe_example_on_interrupt(int signal) {
  interrupted = true;
  std::signal(signal, SIG_DFL);  // a second one ends the program
}

/// From here on Ctrl-C sets `interrupted`.
inline void catch_interrupts() {
  std::signal(SIGINT, moe_example_on_interrupt);
  std::signal(SIGTERM, moe_example_on_interrupt);
}

/// Threads that wait must sleep, not spin: spinning beside another program, each of some hundred kernels a step would wait
/// until the scheduler lets the last thread go on. OpenMP reads this when the program is loaded, so it is started again.
inline void set_up_openmp(char** argv) {
  setenv("OMP_PROC_BIND", "false", 0);  // the default, but Kokkos wants it said
  if (std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("OMP_WAIT_POLICY", "passive", 1);
  execv("/proc/self/exe", argv);  // where this fails, all goes on as it is
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

/// Sets up, calls `run(command line)` and returns its exit code; an error is a sentence, with exit code 2 where the user
/// can mend it.
template <class RunT>
int run(const char* name, int argc, char** argv, const RunT& run) {
  set_up_openmp(argv);
  std::string command = name;
  for (int i = 1; i < argc; ++i) command += std::string(" ") + argv[i];
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // a line at a time, into files and pipes too
  try {
    return run(command);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    // moe::Error: a file that cannot be read or written, a size that does not fit
    const bool can_be_mended = dynamic_cast<const UsageError*>(&error) || dynamic_cast<const moe::Error*>(&error);
    return can_be_mended ? exit_usage : 1;
  }
}

}  // namespace program
