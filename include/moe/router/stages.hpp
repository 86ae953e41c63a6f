#pragma once

#include <moe/core/concepts.hpp>
#include <moe/core/shape.hpp>
#include <moe/router/select.hpp>

#include <concepts>

namespace moe::detail {

/// \file
/// What a Router asks of its stages, so that one that is left out, or stands in another's place, is one sentence.

template <class SelectT>
concept ChoosesWholeBatch = SelectT::whole_batch;
template <class ScoreT>
concept SumsToOne = ScoreT::sums_to_one;
template <class ScoreT>
concept AreLogits = ScoreT::are_logits;
template <class SelectionBiasT>
concept BiasExists = SelectionBiasT::exists;

template <class T>
concept IsProjection = HasLimits<T, Shape<>>;

template <class T>
concept IsScore = requires(const T score, const float* in, float* out, int n) {
  T::sums_to_one;
  score.forward(in, out, n);
  score.backward(in, in, in, out, n);
};

template <class T>
concept IsSelection = requires(const T select, const Shape<> shape, int* ids) {
  { select.slots(shape) } -> std::convertible_to<int>;
  requires ChoosesWholeBatch<T> || requires { select(Candidates<float>{}, ids); };
};

template <class T>
concept IsWeigh = requires(const T weigh, const float* in, const int* ids, float* out, int n) {
  weigh.forward(in, ids, out, n);
  weigh.backward(in, ids, in, in, out, n);
};

template <class T>
concept IsSelectionBias = requires {
  T::exists;
};

}  // namespace moe::detail
