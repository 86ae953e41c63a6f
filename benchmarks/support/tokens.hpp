#pragma once

#include "report.hpp"

#include <cstdint>
#include <vector>

namespace bench {

using Tokens = Kokkos::View<float**, Kokkos::LayoutRight, Exec>;

/// Standard normal tokens; another stream, other tokens.
Tokens random_tokens(int num_tokens, int hidden, std::uint64_t stream);

/// Batches to take in turn, so that an iteration does not find its experts in a cache: as many as together hit far more
/// weights than a cache holds.
std::vector<Tokens> token_batches(int num_tokens, int hidden);

}  // namespace bench
