#pragma once

#include <stdexcept>

/// What the user can mend: a file that is missing, a folder that cannot be written. main says it in one sentence and
/// leaves with exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline constexpr int exit_usage = 2;
