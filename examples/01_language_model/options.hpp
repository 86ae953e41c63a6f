#pragma once

#include "settings.hpp"

#include <filesystem>

struct Options {
  Setup setup;
  std::filesystem::path out;       ///< where the report and the parameters go
  std::filesystem::path resume;    ///< the state of a stopped run; empty: begin one
  int stop_after = 0;              ///< steps; 0: at the end
  std::filesystem::path quantise;  ///< a trained model to quantise, instead of training one; empty: train
};

/// What the command line asks for. Ends the program after --help; with exit code 2 where it cannot be understood.
Options parse(int argc, char** argv);
