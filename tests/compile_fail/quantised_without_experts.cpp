// expect-error: moe: quantised<WeightT>(block) asks the block for with_weights<WeightT>(), the same block whose experts' matrices are stored as WeightT: Layer, SoftMixture, Chain, Residual, Shared and TokenSkip have it

#include <moe/moe.hpp>

#ifdef MOE_POSITIVE_TWIN
const moe::Layer block{moe::Shape<5, 8, 8>{}, moe::SoftmaxTopK<2>{}, moe::SwiGlu{}};
#else
const moe::RmsNorm block{8};
#endif

void test() { moe::quantised<moe::int8>(block); }
