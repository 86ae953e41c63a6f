#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace moe {

/// What the host throws when an argument cannot be used: what was expected, what came, and where.
class Error : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

namespace detail {

// The checks of the hot path build their sentence only when they throw: forward and backward allocate nothing.

/// Throws `Error("<where>: expected <what> = <expected>, got <got>")`.
inline void expect_extent(const char* where, const char* what, std::int64_t expected, std::int64_t got) {
  if (expected == got) return;
  throw Error(std::string(where) + ": expected " + what + " = " + std::to_string(expected) + ", got " +
              std::to_string(got));
}

/// Throws `Error("<where>: expected <what> <= <most><bound>, got <got>")`; `bound` may say what the most is.
inline void expect_at_most(const char* where, const char* what, std::int64_t most, std::int64_t got,
                           const char* bound = "") {
  if (got <= most) return;
  throw Error(std::string(where) + ": expected " + what + " <= " + std::to_string(most) + bound + ", got " +
              std::to_string(got));
}

/// Throws `Error("<where>: expected <what> >= <least>, got <got>")`.
inline void expect_at_least(const char* where, const char* what, std::int64_t least, std::int64_t got) {
  if (got >= least) return;
  throw Error(std::string(where) + ": expected " + what + " >= " + std::to_string(least) + ", got " +
              std::to_string(got));
}

/// Throws `Error("<where>: expected <what> to be a multiple of <divisor><of>, got <got>")`; `of` may say what the divisor is.
inline void expect_multiple(const char* where, const char* what, std::int64_t divisor, std::int64_t got,
                            const char* of) {
  if (divisor > 0 && got % divisor == 0) return;
  throw Error(std::string(where) + ": expected " + what + " to be a multiple of " + std::to_string(divisor) + of +
              ", got " + std::to_string(got));
}

/// Throws `Error("<where>: <sentence>")` when `condition` is false.
inline void expect(bool condition, const char* where, const char* sentence) {
  if (!condition) throw Error(std::string(where) + ": " + sentence);
}

}  // namespace detail
}  // namespace moe
