#pragma once

#include "settings.hpp"

#include <moe/moe.hpp>

/// The mixture of this example: other routers, experts and balancers go here.
inline auto make_mixture(const ModelShape& shape) {
  return moe::Layer{moe::Shape<>{.experts = shape.experts, .hidden = shape.hidden, .intermediate = shape.intermediate},
                    moe::SoftmaxTopK<moe::dynamic, moe::Normalise>{.select = {.k = shape.top_k}}, moe::SwiGlu{},
                    moe::Balance{moe::SwitchLoss{.weight = 0.05f}, moe::ZLoss{.weight = 0.001f}}};
}
