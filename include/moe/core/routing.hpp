#pragma once

#include <moe/core/arena.hpp>
#include <moe/core/operands.hpp>
#include <moe/core/types.hpp>

#include <cstdint>

namespace moe {

/// What a router that draws noise in training (`static constexpr bool draws_noise = true`) leaves for balancers that
/// look behind it: logits = clean + scale * (its standard normal numbers). Empty otherwise.
template <class TypesT>
struct RoutingNoise {
  using MatrixT = Matrix<typename TypesT::compute, typename TypesT::memory>;

  MatrixT clean;    ///< [tokens, padded experts]
  MatrixT scale;    ///< [tokens, padded experts]
  MatrixT d_scale;  ///< [tokens, padded experts], what balancers add to the scale's gradient; zero before them

  RoutingNoise() = default;
  template <class ArenaT>
  RoutingNoise(ArenaT& arena, int max_tokens, int num_experts)
      : clean(
            arena.template matrix<typename TypesT::compute>(max_tokens, padded<typename TypesT::compute>(num_experts))),
        scale(
            arena.template matrix<typename TypesT::compute>(max_tokens, padded<typename TypesT::compute>(num_experts))),
        d_scale(arena.template matrix<typename TypesT::compute>(max_tokens,
                                                                padded<typename TypesT::compute>(num_experts))) {}

  RoutingNoise first(int num_tokens) const {
    RoutingNoise part = *this;
    if (clean.extent(1) == 0) return part;
    part.clean = detail::first_rows(clean, num_tokens);
    part.scale = detail::first_rows(scale, num_tokens);
    part.d_scale = detail::first_rows(d_scale, num_tokens);
    return part;
  }
};

/// What a router decides: for each token and slot an expert and a gate. Token-major; an empty slot has the id -1.
template <class TypesT>
struct Routing {
  using compute = typename TypesT::compute;
  using memory = typename TypesT::memory;

  Matrix<int, memory> ids;         ///< [tokens, slots], experts; unique within a token; -1 is an empty slot
  Matrix<compute, memory> gates;   ///< [tokens, slots]
  Matrix<compute, memory> scores;  ///< [tokens, padded experts], what the choice was made by (without any bias)
  Matrix<compute, memory> logits;  ///< [tokens, padded experts], what the scores were made of
  bool scores_sum_to_one = false;  ///< per token, as softmax scores do
  bool scores_are_logits = false;  ///< as IdentityScore leaves them: the probabilities are their softmax
  bool has_padding = false;        ///< the caller passed moe::Padding: ask is_real and num_real, not the extents
  Vector<int, memory> real;        ///< [tokens], 1 for a real token, 0 for padding; unset without padding
  Vector<int, memory> real_count;  ///< [1], the number of real tokens; unset without padding
  RoutingNoise<TypesT> noise;

  Routing() = default;
  template <class ArenaT>
  Routing(ArenaT& arena, int max_tokens, int slots, int num_experts, bool scores_sum_to_one_)
      : ids(arena.template matrix<int>(max_tokens, slots)),
        gates(arena.template matrix<compute>(max_tokens, slots)),
        scores(arena.template matrix<compute>(max_tokens, padded<compute>(num_experts))),
        logits(arena.template matrix<compute>(max_tokens, padded<compute>(num_experts))),
        scores_sum_to_one(scores_sum_to_one_),
        real(arena.template vector<int>(max_tokens)),
        real_count(arena.template vector<int>(1)) {}

  KOKKOS_FUNCTION int slots() const { return int(ids.extent(1)); }
  KOKKOS_FUNCTION int num_tokens() const { return int(ids.extent(0)); }
  KOKKOS_FUNCTION bool is_real(std::int64_t t) const { return !has_padding || real(t) != 0; }
  /// The real tokens: what means over tokens are divided by. Known on the device only.
  KOKKOS_FUNCTION int num_real() const { return has_padding ? real_count(0) : num_tokens(); }

  /// The same memory, for the first `num_tokens` tokens only.
  Routing first(int num_tokens) const {
    Routing part = *this;
    part.ids = detail::first_rows(ids, num_tokens);
    part.gates = detail::first_rows(gates, num_tokens);
    part.scores = detail::first_rows(scores, num_tokens);
    part.logits = detail::first_rows(logits, num_tokens);
    part.noise = noise.first(num_tokens);
    return part;
  }
};

/// Which row of the experts' products belongs to which token, and the way back. Rows are sorted by expert, and by token
/// within an expert.
template <class TypesT>
struct Plan {
  using compute = typename TypesT::compute;
  using memory = typename TypesT::memory;

  Vector<int, memory> offsets;     ///< [experts + 1]: expert e has the rows offsets(e) .. offsets(e + 1) - 1
  Vector<int, memory> tokens;      ///< [rows], the token of a row
  Vector<compute, memory> gates;   ///< [rows], the gate of a row
  Matrix<int, memory> rows;        ///< [tokens, slots], the row of a slot; -1: empty or dropped
  Vector<int, memory> load;        ///< [experts], assignments that the router asked for, dropped ones included
  Vector<int, memory> total_load;  ///< [experts], the same since the last update, this batch too; on a tape only

  Plan() = default;
  template <class ArenaT>
  Plan(ArenaT& arena, int max_tokens, int slots, int max_rows, int num_experts)
      : offsets(arena.template vector<int>(num_experts + 1)),
        tokens(arena.template vector<int>(max_rows)),
        gates(arena.template vector<compute>(max_rows)),
        rows(arena.template matrix<int>(max_tokens, slots)),
        load(arena.template vector<int>(num_experts)) {}

  /// The operand of a product over at most `max_rows` rows.
  Segments segments(int max_rows) const { return {offsets.data(), int(offsets.extent(0)) - 1, max_rows}; }

  /// The same memory, for the first `num_tokens` tokens only.
  Plan first(int num_tokens) const {
    Plan part = *this;
    part.rows = detail::first_rows(rows, num_tokens);
    return part;
  }
};

}  // namespace moe
