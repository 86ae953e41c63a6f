#include "support/register_model.hpp"

namespace moe_tests {

template <class RouterT>
auto router_model(const RouterT& router) {
  return moe::Layer{moe::Shape<>{.experts = 6, .hidden = 35, .intermediate = 18}, router, moe::Mlp<moe::Relu>{},
                    moe::ZLoss{}};
}

const bool routers[] = {
    add("router with groups, scaled",
        router_model(moe::Router<moe::LinearProjection<>, moe::SqrtSoftplus, moe::GroupTopK<3, 3, 2>,
                                 moe::Scaled<moe::Normalise>, moe::SelectionBias>{.weigh = {.factor = 2.5}})),
    add("expert choice", router_model(moe::ExpertChoiceRouter{.select = {.capacity_factor = 1.5}}),
        {.each_token_alone = false}),
};

}  // namespace moe_tests
