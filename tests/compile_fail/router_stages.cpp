// expect-error: moe: the first stage of Router is a projection, which makes the logits: moe::LinearProjection<>
// expect-error: moe: the second stage of Router is a score, as moe::Softmax:
// expect-error: moe: the third stage of Router is a selection, as moe::TopK<2>:
// expect-error: moe: the fourth stage of Router makes the gates, as moe::Normalise:
// expect-error: moe: the fifth argument of Router is moe::SelectionBias or moe::NoSelectionBias

#include <moe/moe.hpp>

namespace {

#ifdef MOE_POSITIVE_TWIN
using Projection = moe::LinearProjection<>;
using Score = moe::Softmax;
using Selection = moe::TopK<2>;
using Weigh = moe::Normalise;
using Bias = moe::NoSelectionBias;
#else
// Each in the place of its neighbour.
using Projection = moe::Softmax;
using Score = moe::TopK<2>;
using Selection = moe::Normalise;
using Weigh = moe::NoSelectionBias;
using Bias = moe::LinearProjection<>;
#endif

}  // namespace

[[maybe_unused]] constexpr auto router = sizeof(moe::Router<Projection, Score, Selection, Weigh, Bias>);
