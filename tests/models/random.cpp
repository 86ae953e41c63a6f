#include "support/register_model.hpp"
#include "support/sides.hpp"

namespace moe_tests {

struct WithStep {
  test::WithStep operator()(int) const { return {}; }
};

// What draws random numbers: by the token's place, as there are no ids.
template <class RouterT, class BalancerT>
auto random_model(const RouterT& router, const BalancerT& balancer) {
  return moe::Layer{moe::Shape<>{.experts = 7, .hidden = 34, .intermediate = 17}, router,
                    moe::Lora<moe::SwiGlu, 3>{.alpha = 6}, balancer};
}

const bool random[] = {
    add("noise and jitter, adapters",
        random_model(moe::TopKSoftmax<2, moe::Jitter<moe::Noisy<>>>{},
                     moe::Balance{moe::ImportanceLoss{}, moe::LoadLoss{}}),
        {.infers_as_trained = false, .trains_all = false}, WithStep{}),
    add("random experts, adapters", random_model(moe::RandomRouter<2>{}, moe::NoBalance{}),
        {.each_token_alone = false, .trains_all = false}, WithStep{}),
};

}  // namespace moe_tests
