#include "support/register_model.hpp"

namespace moe_tests {

// Tokens compete for places: what one gets depends on the others.
template <class DispatcherT>
auto capacity_model(const DispatcherT& dispatcher) {
  return moe::Layer{moe::Shape<>{.experts = 7, .hidden = 35, .intermediate = 18}, moe::SoftmaxTopK<3>{},
                    moe::Mlp<moe::Relu>{}, moe::SwitchLoss{}, dispatcher};
}

const bool capacity[] = {
    add("capacity by position", capacity_model(moe::Capacity<>{.factor = 0.8}), {.each_token_alone = false}),
    add("capacity by gate, identity", capacity_model(moe::Capacity<moe::DropByGate, moe::PassIdentity>{.factor = 0.5}),
        {.each_token_alone = false}),
};

}  // namespace moe_tests
