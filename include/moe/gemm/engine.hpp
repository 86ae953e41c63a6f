#pragma once

#include <moe/core/operands.hpp>
#include <moe/core/quantised_rows.hpp>

/// \file
/// What an engine is. An engine multiplies rows that are sorted by expert with their expert's matrix, in three forms:
///
///     forward           out[r, p, f]  = sum_d scale[r] x[r, d] W[e(r), p, f, d]                  d ascending
///     backward_rows     in [r, d]     = sum_f sum_p scale[r] dy[r, p, f] W[e(r), p, f, d]        f, then p, ascending
///     backward_weights  dW[e, p, f, d] (+)= sum_{r in segment e} scale[r] dy[r, p, f] x[r, d]    r ascending
///
/// where p runs over the parts of the matrix, x and dy are RowSources and the results of the first two go to an
/// epilogue. Each output element is one chain of fused multiply-adds in the order given, whatever the tile, the number
/// of rows and the number of threads; an accumulating backward_weights starts the chain at the old value. The product
/// of scale and element is rounded once, before the chain.
///
/// An engine is a value: it is made once from an arena, holds views of its scratch, and may be copied into kernels.
///
///     using Layout = Panels;                                     the storage order of its matrices
///     template <class ArenaT> Engine(const ExecT&, ArenaT&, EngineLimits)              scratch for products up to these
///     engine.forward(exec, label, segments, source, weights, epilogue)
///     engine.forward(exec, label, segments, QuantisedRows{source}, quantised weights, epilogue)     sums of integers
///     engine.backward_rows(exec, label, segments, d_source, weights, epilogue)
///     engine.backward_weights(exec, label, segments, d_source, source, d_weights, accumulate)
///
/// An epilogue is a functor on accumulators. The engine calls it once for each row and each group of columns, with a
/// vector type V of its choice, a scalar or a Simd, for all parts together:
///
///     struct Epilogue {
///       static constexpr int parts = 2;           of the matrix in forward; 1 in backward_rows
///       static constexpr bool row_dot = false;
///       template <class V> MOE_INLINE void operator()(int expert, int row, int column, const V* parts) const;
///     };
///
/// `column` is the first of the V's lanes; lanes past the last column are zeros, and stores to them must be harmless:
/// outputs have rows of padded<T>(columns) elements. Every row of a segment and every column is visited exactly once.
/// With `row_dot = true` the call returns a V; the engine adds the lanes of each 16 neighbouring columns in ascending
/// order and calls `epilogue.partial(row, column / 16, sum)`, so that a row's dot product does not depend on the tile.
///
/// Optional: `MOE_INLINE void prepare(int row, int column) const` has the processor fetch (__builtin_prefetch) the 64
/// bytes of each array that the call for these columns will read or write. An engine may call it some time before.

namespace moe {

/// Columns whose contributions to a row's dot product an engine adds before it hands them on.
inline constexpr int dot_columns = 16;

}  // namespace moe
