#pragma once

#include <moe/core/arena.hpp>
#include <moe/core/kernel.hpp>

#include <cstdint>
#include <string>

namespace moe::detail {

/// Rows that one work item adds. Fixed: the order of additions must not depend on the number of threads.
inline constexpr int reduce_block = 64;

inline std::int64_t num_blocks(std::int64_t rows) { return (rows + reduce_block - 1) / reduce_block; }

template <class T, class TermT>
struct PartialColumnSum {
  TermT term;
  T* partial;
  std::int64_t rows;
  std::int64_t columns;
  KOKKOS_FUNCTION void operator()(std::int64_t i) const {
    const std::int64_t block = i / columns, column = i % columns;
    const std::int64_t end = Kokkos::min(rows, (block + 1) * reduce_block);
    T sum = 0;
    for (std::int64_t row = block * reduce_block; row < end; ++row) sum += term(row, column);
    partial[i] = sum;
  }
};

template <class T, class StoreT>
struct TotalColumnSum {
  StoreT store;
  const T* partial;
  std::int64_t blocks;
  std::int64_t columns;
  KOKKOS_FUNCTION void operator()(std::int64_t column) const {
    T sum = 0;
    for (std::int64_t block = 0; block < blocks; ++block) sum += partial[block * columns + column];
    store(column, sum);
  }
};

/// A destination of column sums.
template <class T>
struct StoreSum {
  T* out;
  bool accumulate;
  KOKKOS_FUNCTION void operator()(std::int64_t i, T sum) const { out[i] = accumulate ? out[i] + sum : sum; }
};

/// Sums over rows in fixed blocks: `store(column, sum over rows of term(row, column))`. A reduction of Kokkos would
/// allocate, and its order would depend on the threads.
template <class T>
class ColumnSum {
 public:
  ColumnSum() = default;
  template <class ArenaT>
  ColumnSum(ArenaT& arena, std::int64_t max_rows, std::int64_t max_columns)
      : partial_(arena.template take<T>(num_blocks(max_rows) * max_columns)) {}

  template <class ExecT, class TermT, class StoreT>
  void operator()(const ExecT& exec, const std::string& label, std::int64_t rows, std::int64_t columns,
                  const TermT& term, const StoreT& store) const {
    const std::int64_t blocks = num_blocks(rows);
    launch(exec, label, blocks * columns, PartialColumnSum<T, TermT>{term, partial_, rows, columns});
    launch(exec, label, columns, TotalColumnSum<T, StoreT>{store, partial_, blocks, columns});
  }

 private:
  T* partial_ = nullptr;
};

}  // namespace moe::detail
