// Routers whose choice for a token depends on the other tokens of its batch.

#include "../routers.hpp"

#include <moe/moe.hpp>

std::vector<RouterChoice> whole_batch_routers() {
  const std::string balanced = "it balances by itself and takes no balancer";
  return {
      {.name = "expert-choice",
       .what = "softmax; each expert takes the tokens that score it highest, k experts for a token on average",
       .make =
           [](const ModelShape& s, std::uint64_t) {
             return AnyRouter::of(moe::ExpertChoiceRouter{.select = {.capacity_factor = double(s.top_k)}});
           },
       .is_comparable = false,
       .no_balancer = balanced,
       .caveat =
           "Not causal, in training and on the held-out text alike: whether a byte gets an expert depends on bytes "
           "that come after it. Its bits per byte are those of a model that cannot generate, and no fair match."},
      {.name = "sinkhorn",
       .what =
           "softmax; in training the k best in a balanced transport plan of the batch, on held-out text the k largest",
       .make = [](const ModelShape& s,
                  std::uint64_t) { return AnyRouter::of(moe::SinkhornTopK<moe::dynamic>{.select = {.k = s.top_k}}); },
       .no_balancer = balanced,
       .caveat =
           "In training the choice sees the whole batch, later bytes too; on the held-out text each byte is routed "
           "by itself, so that its bits per byte are comparable. Its load is that of training."},
  };
}
