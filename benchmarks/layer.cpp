/// The whole layer and its parts, (hidden, intermediate, experts, top_k) = (2048, 1024, 64, 8) in float, at 1, 16,
/// 512 and 4096 tokens, fresh tokens in each iteration. Sizes are static; shapes.cpp has others, at run time.

#include "support/layer.hpp"

namespace {

using LayerT = moe::Layer<moe::Shape<64, 2048, 1024>, moe::SoftmaxTopK<8>, moe::SwiGlu, moe::SwitchLoss>;

const bool added = bench::add_layer("", {1, 16, 512, 4096}, [] { return bench::LayerModel<LayerT>(LayerT{{}}, 4096); });

}  // namespace
