#pragma once

#include <moe/router/select.hpp>

#include <Kokkos_Core.hpp>

#include <limits>
#include <type_traits>

namespace moe {

/// How good a group of experts is: the sum of its NV best. With a selection bias the bias counts, as in the choice.
template <int NV>
struct GroupBest {
  static_assert(NV > 0, "moe: GroupBest<N> needs N > 0");

  template <class CandidatesT>
  KOKKOS_FUNCTION auto operator()(const CandidatesT& candidates, int begin, int end) const {
    int best[NV] = {};  // for g++, which does not see that there is one expert at least
    int taken = 0;
    for (int e = begin; e < end; ++e) taken = detail::take(candidates, e, best, taken, NV);
    auto sum = candidates[best[0]];
    for (int i = 1; i < taken; ++i) sum += candidates[best[i]];
    return sum;
  }
};
using GroupMaximum = GroupBest<1>;  ///< DeepSeek-V2's
using GroupBestTwo = GroupBest<2>;  ///< DeepSeek-V3's, and GLM-4.5's

namespace detail {

/// The scores of groups as candidates of their own.
template <class T, int CapacityV>
struct GroupCandidates {
  static constexpr T lowest = -std::numeric_limits<T>::infinity();

  T score[CapacityV];
  int count;

  KOKKOS_FUNCTION T operator[](int group) const { return Kokkos::isnan(score[group]) ? lowest : score[group]; }
};

}  // namespace detail

/// The k best experts out of the best groups, largest first: experts are cut into `groups` neighbourhoods of equal size,
/// the `top_groups` best of them are kept, and the choice is among their experts. Equal ones go to the lowest index.
/// (Device-limited routing of DeepSeek-V2, arXiv 2405.04434, with GroupMaximum; node-limited routing of DeepSeek-V3,
/// arXiv 2412.19437, with GroupBestTwo; Megatron-LM's group_limited_topk has GroupBest<K / TopGroups>.)
template <int KV, int GroupsV, int TopGroupsV, class GroupScoreT = GroupBestTwo>
struct GroupTopK {
  static constexpr int most_groups = 64;  ///< of a number that is known at run time only
  static_assert(KV == dynamic || KV > 0, "moe: GroupTopK<K, Groups, TopGroups> needs K > 0, or moe::dynamic");
  static_assert(GroupsV == dynamic || GroupsV > 0, "moe: GroupTopK<K, Groups, TopGroups> needs Groups > 0");
  static_assert(TopGroupsV == dynamic || TopGroupsV > 0, "moe: GroupTopK<K, Groups, TopGroups> needs TopGroups > 0");
  static_assert(GroupsV == dynamic || TopGroupsV == dynamic || TopGroupsV <= GroupsV,
                "moe: GroupTopK<K, Groups, TopGroups> keeps TopGroups of the groups: it must not exceed Groups");

  [[no_unique_address]] Size<KV> k{};
  [[no_unique_address]] Size<GroupsV> groups{};
  [[no_unique_address]] Size<TopGroupsV> top_groups{};
  [[no_unique_address]] GroupScoreT group_score{};

  template <class ShapeT>
  KOKKOS_FUNCTION int slots(const ShapeT&) const {
    return k;
  }

  /// \throws Error if the experts cannot be cut into so many groups, or the groups kept hold fewer than k experts.
  template <class ShapeT>
  void check(const ShapeT& shape) const {
    const char* const where = "moe::GroupTopK";
    detail::expect_at_least(where, "groups", 1, groups);
    if (GroupsV == dynamic) detail::expect_at_most(where, "groups", most_groups, groups);
    detail::expect_multiple(where, "experts", groups, shape.experts, " (groups)");
    detail::expect_at_least(where, "top_groups", 1, top_groups);
    detail::expect_at_most(where, "top_groups", groups, top_groups, " (the number of groups)");
    detail::expect_at_least(where, "k", 1, k);
    detail::expect_at_most(where, "k", shape.experts / groups * top_groups, k, " (the experts of top_groups groups)");
  }

  template <class CandidatesT>
  KOKKOS_FUNCTION void operator()(const CandidatesT& candidates, int* ids) const {
    constexpr int capacity = GroupsV == dynamic ? most_groups : GroupsV;
    constexpr int top_capacity = TopGroupsV == dynamic ? capacity : TopGroupsV;
    using T = std::decay_t<decltype(candidates[0])>;
    const int size = candidates.count / groups;
    detail::GroupCandidates<T, capacity> all{{}, groups};
    for (int g = 0; g < groups; ++g) all.score[g] = group_score(candidates, g * size, (g + 1) * size);
    int kept[top_capacity];
    detail::take_best(all, kept, top_groups);

    // group by group from the lowest, so that equal experts are seen in the order of their index
    int taken = 0;
    for (int g = 0; g < groups; ++g) {
      bool is_kept = false;
      for (int i = 0; i < top_groups; ++i) is_kept = is_kept || kept[i] == g;
      if (!is_kept) continue;
      for (int e = g * size; e < (g + 1) * size; ++e) taken = detail::take(candidates, e, ids, taken, k);
    }
  }
};

}  // namespace moe
