#include "support/register_model.hpp"

#include <moe/moe.hpp>

namespace moe_tests {

template <class RouterT>
auto selection_model(const RouterT& router) {
  return moe::Layer{moe::Shape<>{.experts = 7, .hidden = 34, .intermediate = 17}, router, moe::Mlp<moe::Silu>{}};
}

using Masked = moe::Masked<moe::LinearProjection<moe::WithBias>>;

const bool selections[] = {
    add("top-p", selection_model(moe::Router<moe::LinearProjection<>, moe::Softmax, moe::TopP<4>>{})),
    add("above a threshold",
        selection_model(moe::Router<moe::LinearProjection<>, moe::ReluScore, moe::Threshold<4>>{})),
    add("softmax over the selected, with a mask", selection_model(moe::TopKSoftmax<3, Masked>{})),
    add("Sinkhorn", selection_model(moe::SinkhornTopK<1>{}), {.infers_as_trained = false}),
};

}  // namespace moe_tests
