// Routers that choose for each token by itself, by scores alone.

#include "../routers.hpp"

#include <moe/moe.hpp>

#include <algorithm>

namespace {

using Linear = moe::LinearProjection<>;
template <class ScoreT, class SelectT, class WeighT = moe::Keep, class BiasT = moe::NoSelectionBias>
using Stages = moe::Router<Linear, ScoreT, SelectT, WeighT, BiasT>;
using TopK = moe::TopK<moe::dynamic>;
using GroupTopK = moe::GroupTopK<moe::dynamic, moe::dynamic, moe::dynamic>;

/// Where the number of experts varies: at most twice what the others take.
int most(const ModelShape& shape) { return std::min(2 * shape.top_k, shape.experts); }

GroupTopK groups(const ModelShape& shape) {
  int count = 4;  // the largest divisor up to four, half of which hold k experts
  while (shape.experts % count != 0 || shape.experts / count * std::max(count / 2, 1) < shape.top_k) --count;
  return {.k = shape.top_k, .groups = count, .top_groups = std::max(count / 2, 1)};
}

}  // namespace

std::vector<RouterChoice> token_choice_routers() {
  return {
      {.name = "softmax-top-k",
       .what = "softmax over all experts, the k largest; gate = probability",
       .make = [](const ModelShape& s,
                  std::uint64_t) { return AnyRouter::of(Stages<moe::Softmax, TopK>{.select = {.k = s.top_k}}); }},
      {.name = "top-k-softmax",
       .what = "the k largest logits, softmax over them",
       .make =
           [](const ModelShape& s, std::uint64_t) {
             return AnyRouter::of(Stages<moe::IdentityScore, TopK, moe::SoftmaxSelected>{.select = {.k = s.top_k}});
           }},
      {.name = "sigmoid-top-k",
       .what = "a sigmoid for each expert, the k largest, with a selection bias; gates normalised",
       .make =
           [](const ModelShape& s, std::uint64_t) {
             return AnyRouter::of(
                 Stages<moe::Sigmoid, TopK, moe::Normalise, moe::SelectionBias>{.select = {.k = s.top_k}});
           },
       .has_selection_bias = true},
      {.name = "group-top-k",
       .what = "sigmoid-top-k within the best half of the groups of experts",
       .make =
           [](const ModelShape& s, std::uint64_t) {
             return AnyRouter::of(
                 Stages<moe::Sigmoid, GroupTopK, moe::Normalise, moe::SelectionBias>{.select = groups(s)});
           },
       .has_selection_bias = true},
      {.name = "top-p",
       .what = "softmax, as many of the largest as reach 0.4 together, at most 2 k; gate = probability",
       .make =
           [](const ModelShape& s, std::uint64_t) {
             return AnyRouter::of(Stages<moe::Softmax, moe::TopP<moe::dynamic>>{.select = {.max_k = most(s)}});
           },
       .is_comparable = false,
       .caveat = "The number of experts varies: compare by experts per token."},
      {.name = "threshold",
       .what = "relu for each expert, every one above 0, at most 2 k; gate = score",
       .make =
           [](const ModelShape& s, std::uint64_t) {
             return AnyRouter::of(Stages<moe::ReluScore, moe::Threshold<moe::dynamic>>{.select = {.max_k = most(s)}});
           },
       .is_comparable = false,
       .caveat = "The number of experts varies: compare by experts per token."},
      {.name = "all-experts",
       .what = "softmax over all experts, all of them, each k / experts times as wide; gate = probability",
       .make = [](const ModelShape&, std::uint64_t) { return AnyRouter::of(Stages<moe::Softmax, moe::AllExperts>{}); },
       .takes_all_experts = true,
       .no_balancer = "every expert gets every token: the load is even"},
      {.name = "frozen",
       .what = "softmax-top-k with a projection that stays as it was drawn",
       .make =
           [](const ModelShape& s, std::uint64_t) {
             return AnyRouter::of(moe::Frozen{Stages<moe::Softmax, TopK>{.select = {.k = s.top_k}}});
           },
       .no_balancer = "the router learns nothing, so that no loss can move it"},
  };
}
