#include "support/register_model.hpp"

#include <moe/layer/token_skip.hpp>

namespace moe_tests {

// Tokens compete for a way through the block.
template <class PrecisionT, class GateT>
auto skip_model(const moe::SkipOptions& options, const PrecisionT& precision, const GateT& gate) {
  const moe::Chain block{moe::RmsNorm{35, 1e-6, precision}, moe::Linear{35, 35, moe::WithBias{}, precision}};
  return moe::Residual{moe::TokenSkip{block, options, gate}};
}

const bool token_skip[] = {
    add("token skip", skip_model(moe::SkipOptions{.capacity = 0.5}, moe::Precision<float>{}, moe::Sigmoid{}),
        {.each_token_alone = false}),
    add("token skip in sequences, two bytes",
        skip_model(moe::SkipOptions{.capacity = 0.3, .sequence_length = 11}, moe::Precision<moe::bfloat16>{},
                   moe::IdentityScore{}),
        {.each_token_alone = false}),
};

}  // namespace moe_tests
