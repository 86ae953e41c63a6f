#pragma once

#include "balancers.hpp"
#include "experiment.hpp"
#include "routers.hpp"

#include <filesystem>
#include <vector>

struct Options {
  Settings settings;
  std::vector<RouterChoice> routers;      ///< those asked for
  std::vector<BalancerChoice> balancers;  ///< those asked for
  int seeds = 3;
  int threads = 0;  ///< 0: as many as there are
  std::filesystem::path out;
  bool resume = false;
};

/// What the command line asks for. Ends the program after --help and --list; with exit code 2 where it cannot be understood.
Options parse(int argc, char** argv);
