#include "support/register_model.hpp"

#include <moe/layer/soft_mixture.hpp>

namespace moe_tests {

// Tokens share their slots with the others of their sequence.
template <class PrecisionT>
auto soft_model(int sequence_length, const PrecisionT& precision) {
  return moe::Residual{
      moe::SoftMixture{moe::Shape<>{.experts = 5, .hidden = 37, .intermediate = 18}, moe::Mlp<moe::Gelu>{},
                       moe::SoftSlots{.per_expert = 3, .sequence_length = sequence_length}, precision}};
}

const bool soft_mixture[] = {
    add("soft mixture", soft_model(0, moe::Precision<float>{}), {.each_token_alone = false}),
    add("soft mixture of sequences, two bytes", soft_model(13, moe::Precision<moe::bfloat16>{}),
        {.each_token_alone = false}),
};

}  // namespace moe_tests
