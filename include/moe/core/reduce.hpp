#pragma once

#include <moe/core/arena.hpp>
#include <moe/core/kernel.hpp>

#include <cstdint>
#include <string>

namespace moe::detail {

/// Rows that one work item adds. Fixed: the order of additions must not depend on the number of threads.
inline constexpr int reduce_block = 64;

inline std::int64_t num_blocks(std::int64_t rows) { return (rows + reduce_block - 1) / reduce_block; }

/// A work item adds WidthV neighbouring columns: those of a line of memory on the host; one on a device, where neighbours are
/// neighbouring threads'. Each column is a chain of its own, so that its bits do not depend on it.
template <int WidthV, class T, class TermT>
struct PartialColumnSum {
  TermT term;
  T* partial;
  std::int64_t rows;
  std::int64_t columns;

  KOKKOS_FUNCTION std::int64_t groups() const { return (columns + WidthV - 1) / WidthV; }
  KOKKOS_FUNCTION void operator()(std::int64_t i) const {
    const std::int64_t block = i / groups(), first = i % groups() * WidthV;
    const std::int64_t begin = block * reduce_block, end = Kokkos::min(rows, begin + reduce_block);
    const int width = int(Kokkos::min(columns - first, std::int64_t(WidthV)));
    T sum[WidthV] = {};
    if (width == WidthV) {
      for (std::int64_t row = begin; row < end; ++row) {
        for (int c = 0; c < WidthV; ++c) sum[c] += term(row, first + c);
      }
    } else {
      for (std::int64_t row = begin; row < end; ++row) {
        for (int c = 0; c < width; ++c) sum[c] += term(row, first + c);
      }
    }
    for (int c = 0; c < width; ++c) partial[block * columns + first + c] = sum[c];
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
    constexpr bool on_host = Kokkos::SpaceAccessibility<Kokkos::HostSpace, typename ExecT::memory_space>::accessible;
    const std::int64_t blocks = num_blocks(rows);
    const PartialColumnSum<on_host ? 16 : 1, T, TermT> partial{term, partial_, rows, columns};
    launch(exec, label, blocks * partial.groups(), partial);
    launch(exec, label, columns, TotalColumnSum<T, StoreT>{store, partial_, blocks, columns});
  }

 private:
  T* partial_ = nullptr;
};

}  // namespace moe::detail
