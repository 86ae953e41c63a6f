#pragma once

#include <moe/core/interleaved_sum.hpp>
#include <moe/core/radix_select.hpp>
#include <moe/core/view.hpp>
#include <moe/layer/real_tokens.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>

/// \file
/// The tokens that a TokenSkip sends through its block, and their rows: which are chosen, how they get there and back,
/// and how their gradients do. Each sequence has rows of its own, in the order of its tokens.

namespace moe::detail {

/// The sequences of a batch, and the rows that their chosen tokens have: sorted by sequence.
struct SkipMap {
  int tokens = 0;
  int length = 1;       ///< tokens of a sequence; the last may have fewer
  int places = 0;       ///< rows of a sequence ...
  int last_places = 0;  ///< ... and of the last one

  KOKKOS_FUNCTION int sequences() const { return (tokens + length - 1) / length; }
  KOKKOS_FUNCTION int begin(int sequence) const { return sequence * length; }
  KOKKOS_FUNCTION int end(int sequence) const { return Kokkos::min(tokens, (sequence + 1) * length); }
  KOKKOS_FUNCTION int first_row(int sequence) const { return sequence * places; }
  KOKKOS_FUNCTION int places_of(int sequence) const { return sequence == sequences() - 1 ? last_places : places; }
  int rows() const { return tokens == 0 ? 0 : first_row(sequences() - 1) + last_places; }
};

/// Which tokens were chosen, and what goes into the block and comes out of it.
template <class StorageT, class ComputeT, class MemoryT>
struct ChosenTokens {
  Vector<ComputeT, MemoryT> logits;   ///< [tokens]
  Vector<int, MemoryT> row_of;        ///< [tokens], -1: skipped
  Vector<int, MemoryT> tokens;        ///< [rows], -1: there were too few that are not padding
  Vector<ComputeT, MemoryT> gates;    ///< [rows]
  Vector<int, MemoryT> mask;          ///< [rows], the block's padding
  Vector<std::int64_t, MemoryT> ids;  ///< [rows], the block's token ids
  Matrix<StorageT, MemoryT> rows;     ///< [rows, hidden], the block's x
  Matrix<StorageT, MemoryT> results;  ///< [rows, hidden], the block's y
  RealTokens<MemoryT> real;
};

template <class T, class MemoryT>
Vector<T, MemoryT> first_elements(const Vector<T, MemoryT>& vector, int count) {
  return Vector<T, MemoryT>(vector.data(), count);
}

template <class XT, class T>
struct SkipLogits {
  XT x;
  const T* weight;
  T* logits;
  KOKKOS_FUNCTION void operator()(std::int64_t t) const { logits[t] = dot<T>(&x(t, 0), weight, int(x.extent(1))); }
};

/// The tokens of a sequence: the largest logit has the smallest key. Padding does not compete.
template <class T, class MemoryT>
struct LogitKeys {
  const T* logits;
  RealTokens<MemoryT> real;
  int first;
  KOKKOS_FUNCTION bool competes(std::int64_t i) const { return real.is_real(first + i); }
  KOKKOS_FUNCTION auto operator()(std::int64_t i) const { return radix::descending_key(logits[first + i]); }
};

/// For a sequence: its best tokens get rows, in the order of tokens.
template <class T, class MemoryT>
struct ChooseTokens {
  SkipMap map;
  const T* logits;
  RealTokens<MemoryT> real;
  int* row_of;
  int* tokens;

  KOKKOS_FUNCTION void operator()(std::int64_t sequence) const {
    const int begin = map.begin(int(sequence)), end = map.end(int(sequence)), places = map.places_of(int(sequence));
    const LogitKeys<T, MemoryT> keys{logits, real, begin};
    const auto cut = radix::select_smallest(keys, end - begin, places);
    int row = map.first_row(int(sequence));
    const int last_row = row + places;
    for (int t = begin; t < end; ++t) {
      const bool chosen = keys.competes(t - begin) && cut.holds(keys(t - begin), t - begin);
      row_of[t] = chosen ? row : -1;
      if (chosen) tokens[row++] = t;
    }
    while (row < last_row) tokens[row++] = -1;
  }
};

/// For a row: the gate of its token, and whether it has one.
template <class ChosenT, class GateT>
struct GateRows {
  ChosenT chosen;
  [[no_unique_address]] GateT gate;
  KOKKOS_FUNCTION void operator()(std::int64_t row) const {
    const int t = chosen.tokens(row);
    chosen.mask(row) = t >= 0 ? 1 : 0;
    chosen.gates(row) = 0;
    if (t >= 0) gate.forward(&chosen.logits(t), &chosen.gates(row), 1);
  }
};

/// ids[row] = the id of the row's token
template <class ChosenT, class IdsT>
struct GatherIds {
  ChosenT chosen;
  IdsT from;
  KOKKOS_FUNCTION void operator()(std::int64_t row) const {
    const int t = chosen.tokens(row);
    chosen.ids(row) = t < 0 ? 0 : std::int64_t(from(t));
  }
};

/// A part of a row that one work item writes.
struct RowChunk {
  static constexpr int columns = 64;
  int row;
  int begin;
  int end;
  KOKKOS_FUNCTION RowChunk(std::int64_t item, int width)
      : row(int(item / count(width))),
        begin(int(item % count(width)) * columns),
        end(Kokkos::min(begin + columns, width)) {}
  KOKKOS_FUNCTION static int count(int width) { return (width + columns - 1) / columns; }
};

/// rows[r] = x[token of r], times its gate if there are gates; 0 where there is no token
template <class FromT, class RowsT, class T>
struct GatherTokens {
  FromT from;
  RowsT rows;
  const int* tokens;
  const T* gates;  ///< nullptr: copied
  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    using Storage = typename RowsT::non_const_value_type;
    const RowChunk chunk(item, int(rows.extent(1)));
    const int t = tokens[chunk.row];
    const T gate = gates ? gates[chunk.row] : T(1);
    for (int c = chunk.begin; c < chunk.end; ++c) {
      rows(chunk.row, c) = Storage(t < 0 ? T(0) : gate * T(from(t, c)));
    }
  }
};

/// y[t] = gate * results[row of t]; 0 for what is skipped
template <class ChosenT, class YT>
struct ScatterResults {
  ChosenT chosen;
  YT y;
  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    using Storage = typename YT::non_const_value_type;
    using T = typename decltype(chosen.gates)::non_const_value_type;
    const RowChunk chunk(item, int(y.extent(1)));
    const int row = chosen.row_of(chunk.row);
    for (int c = chunk.begin; c < chunk.end; ++c) {
      y(chunk.row, c) = Storage(row < 0 ? T(0) : chosen.gates(row) * T(chosen.results(row, c)));
    }
  }
};

/// d_logits[row], out of the gate's gradient <dy, result>
template <class ChosenT, class GateT, class DyT, class T>
struct SkipGateBackward {
  ChosenT chosen;
  [[no_unique_address]] GateT gate;
  DyT dy;
  T* d_logits;
  KOKKOS_FUNCTION void operator()(std::int64_t row) const {
    const int t = chosen.tokens(row);
    d_logits[row] = 0;
    if (t < 0) return;
    const T d_gate = dot<T>(&dy(t, 0), &chosen.results(row, 0), int(dy.extent(1)));
    gate.backward(&chosen.logits(t), &chosen.gates(row), &d_gate, &d_logits[row], 1);
  }
};

/// dx[t] = d_rows[row of t] + d_logit * w; 0 for what is skipped
template <class ChosenT, class RowsT, class DxT, class T>
struct ScatterGradient {
  ChosenT chosen;
  RowsT d_rows;
  DxT dx;
  const T* d_logits;
  const T* weight;
  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    using Storage = typename DxT::non_const_value_type;
    const RowChunk chunk(item, int(dx.extent(1)));
    const int row = chosen.row_of(chunk.row);
    for (int c = chunk.begin; c < chunk.end; ++c) {
      dx(chunk.row, c) = Storage(row < 0 ? T(0) : T(d_rows(row, c)) + d_logits[row] * weight[c]);
    }
  }
};

template <class RowsT, class T>
struct SkipWeightTerm {
  RowsT rows;
  const T* d_logits;
  KOKKOS_FUNCTION T operator()(std::int64_t row, std::int64_t c) const { return d_logits[row] * T(rows(row, c)); }
};

}  // namespace moe::detail
