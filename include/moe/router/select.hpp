#pragma once

#include <moe/core/error.hpp>
#include <moe/core/shape.hpp>

#include <Kokkos_Core.hpp>

#include <limits>

namespace moe {

/// \file
/// Selections: which experts a token gets. A selection that looks at one token alone is called for each of them:
///
///     int slots(shape) const                       the most experts of a token
///     void check(shape) const                      optional: throws where it cannot choose among that many
///     void operator()(candidates, int* ids) const  on the device: writes `slots` ids; -1 leaves a slot empty
///
/// where `candidates[e]` is what expert e is compared by: its score plus the bias of the selection, if there is one,
/// `candidates.score[e]` the score alone, `candidates.count` the number of experts. One that looks at all tokens of the
/// batch at once says so, and is called once:
///
///     static constexpr bool whole_batch = true;
///     template <class TypesT> struct Workspace     and workspace<TypesT>(arena, shape, max_tokens), or with the use behind
///     choose(context, routing, tape, workspace)    writes routing.ids from scores and logits; tape: NoTape in inference
///     int max_rows(shape, num_tokens) const        optional: the most assignments, where not all slots can be full
///     clip(context, routing)                       with it: empties what a replayed routing has above max_rows
///
/// Ids are unique and in range whatever the scores: a NaN is the smallest of all, equal ones go to the lowest index.

/// The logit of an expert that is out of service: finite, so that nothing that is not broken looks it.
template <class T>
inline constexpr T out_of_service = std::numeric_limits<T>::lowest();

namespace detail {

/// What a choice compares: the score, plus a bias that the choice alone sees. A NaN counts as the smallest value, so
/// that every input has a total order; so does an expert that is out of service.
template <class T>
struct Candidates {
  static constexpr T lowest = -std::numeric_limits<T>::infinity();

  const T* score;
  const T* bias;  ///< nullptr: none
  int count;
  const T* logit = nullptr;  ///< nullptr: every expert is in service

  KOKKOS_FUNCTION T operator[](int e) const {
    if (logit && logit[e] == out_of_service<T>) return lowest;
    const T value = bias ? score[e] + bias[e] : score[e];
    return Kokkos::isnan(value) ? lowest : value;
  }
};

/// Takes expert e into the best so far, ids [taken], of which there are k at most; largest first. Only a larger value
/// beats, so equal ones stay in the order of their coming, and ids are unique whatever the values. Returns their number.
template <class CandidatesT>
KOKKOS_FUNCTION int take(const CandidatesT& candidates, int e, int* ids, int taken, int k) {
  const auto value = candidates[e];
  int place = taken < k ? taken : k - 1;
  if (taken == k && !(value > candidates[ids[place]])) return taken;
  for (; place > 0 && value > candidates[ids[place - 1]]; --place) ids[place] = ids[place - 1];
  ids[place] = e;
  return taken < k ? taken + 1 : k;
}

/// The k best of all, k <= their number.
template <class CandidatesT>
KOKKOS_FUNCTION void take_best(const CandidatesT& candidates, int* ids, int k) {
  int taken = 0;
  for (int e = 0; e < candidates.count; ++e) taken = take(candidates, e, ids, taken, k);
}

/// Throws where a token cannot have that many experts.
template <class ShapeT>
void expect_choice(const char* where, const char* what, int k, const ShapeT& shape) {
  expect_at_least(where, what, 1, k);
  expect_at_most(where, what, shape.experts, k, " (the number of experts)");
}

}  // namespace detail

/// The k experts with the largest scores, largest first; equal scores go to the lowest index.
template <int KV>
struct TopK {
  static_assert(KV == dynamic || KV > 0, "moe: TopK<K> needs K > 0, or moe::dynamic");
  [[no_unique_address]] Size<KV> k{};

  template <class ShapeT>
  KOKKOS_FUNCTION int slots(const ShapeT&) const {
    return k;
  }

  /// Refuses k > experts: at compile time where both are static.
  template <int E, int D, int F>
  void check(const Shape<E, D, F>& shape) const {
    static_assert(KV == dynamic || E == dynamic || KV <= E,
                  "moe: TopK<K> chooses among the experts: K must not exceed "
                  "their number");
    detail::expect_choice("moe::TopK", "k", k, shape);
  }

  template <class CandidatesT>
  KOKKOS_FUNCTION void operator()(const CandidatesT& candidates, int* ids) const {
    detail::take_best(candidates, ids, k);
  }
};

}  // namespace moe
