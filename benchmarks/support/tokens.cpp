#include "tokens.hpp"

#include <moe/core/random.hpp>

#include <algorithm>

namespace bench {
namespace {

struct FillNormal {
  Tokens tokens;
  moe::Random random;
  KOKKOS_FUNCTION void operator()(std::int64_t i) const { tokens.data()[i] = random.normal<float>(std::uint64_t(i)); }
};

}  // namespace

Tokens random_tokens(int num_tokens, int hidden, std::uint64_t stream) {
  Tokens tokens("bench::tokens", num_tokens, hidden);
  Kokkos::parallel_for("bench::fill", Kokkos::RangePolicy<Exec, Kokkos::IndexType<std::int64_t>>(0, tokens.size()),
                       FillNormal{tokens, {1, stream}});
  return tokens;
}

std::vector<Tokens> token_batches(int num_tokens, int hidden) {
  const int count = num_tokens < 512 ? 32 : std::max(1, 2048 / num_tokens);
  std::vector<Tokens> batches;
  for (int i = 0; i < count; ++i) batches.push_back(random_tokens(num_tokens, hidden, std::uint64_t(i)));
  return batches;
}

}  // namespace bench
