// Routers that draw noise in training.

#include "../routers.hpp"

#include <moe/moe.hpp>

std::vector<RouterChoice> noisy_routers() {
  return {
      {.name = "noisy-top-k",
       .what = "the k largest logits, with learnt noise in training, softmax over them",
       .make =
           [](const ModelShape& s, std::uint64_t seed) {
             return AnyRouter::of(moe::NoisyTopK<moe::dynamic>{.projection = {.seed = seed}, .select = {.k = s.top_k}});
           },
       .draws_noise = true},
      {.name = "jitter-top-k",
       .what = "softmax-top-k that sees its input times 1 +- 0.01 in training",
       .make =
           [](const ModelShape& s, std::uint64_t seed) {
             using Router = moe::Router<moe::Jitter<>, moe::Softmax, moe::TopK<moe::dynamic>>;
             return AnyRouter::of(Router{.projection = {.seed = seed}, .select = {.k = s.top_k}});
           }},
  };
}
