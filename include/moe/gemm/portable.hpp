#pragma once

#include <moe/core/kernel.hpp>
#include <moe/core/macros.hpp>
#include <moe/core/quantised_rows.hpp>
#include <moe/gemm/engine.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <string>

namespace moe {
namespace detail {

/// A team works on a tile of this many rows; one of its work items on a row of it and `dot_columns` columns.
inline constexpr int tile_rows = 16;
inline constexpr int tile_columns = 64;

/// Rows of one expert.
struct RowTile {
  int expert = -1;  ///< -1: past the last tile
  int begin = 0;
  int end = 0;
};

/// The tile with that number. The host knows an upper bound of the number of tiles only, so teams look for theirs.
KOKKOS_INLINE_FUNCTION RowTile find_row_tile(const Segments& segments, int tile) {
  for (int e = 0; e < segments.count; ++e) {
    const int begin = segments.begin(e), end = segments.end(e);
    const int tiles = (end - begin + tile_rows - 1) / tile_rows;
    if (tile < tiles) {
      const int first = begin + tile * tile_rows;
      return {e, first, Kokkos::min(first + tile_rows, end)};
    }
    tile -= tiles;
  }
  return {};
}

/// out[p] = sum_d x[d] W[p, column, d]: the chain runs over d, one for each part.
template <class T, class SourceT, class ScaleT>
struct ForwardChain {
  RowSource<SourceT, ScaleT> source;
  Weights<const T> weights;

  KOKKOS_FUNCTION int columns() const { return weights.extents.out; }
  template <int PartsV, class AccT>
  KOKKOS_FUNCTION void sum(int expert, int row, int column, AccT* parts) const {
    const MatrixExtents m = weights.extents;
    const SourceT* x = source.row(row);
    const AccT scale = source.factor(row);
    for (int d = 0; d < m.in; ++d) {
      const AccT value = scale * AccT(x[d]);
      for (int p = 0; p < PartsV; ++p) {
        const AccT w = AccT(weight<RowMajor>(weights(expert), m, p, column, d));
        parts[p] = Kokkos::fma(value, w, parts[p]);
      }
    }
  }
};

/// The same of rows that are rounded first: a sum of integers for each group of inputs, and the chain over the groups.
template <class T, class SourceT, class ScaleT>
struct IntegerChain {
  RowSource<SourceT, ScaleT> source;
  Weights<const T> weights;

  KOKKOS_FUNCTION int columns() const { return weights.extents.out; }
  template <int PartsV, class AccT>
  KOKKOS_FUNCTION void sum(int expert, int row, int column, AccT* parts) const {
    using Panel = CodedPanel<T>;
    const MatrixExtents m = weights.extents;
    const T* const matrix = weights(expert);
    const SourceT* const x = source.row(row);
    for (int begin = 0; begin < m.in; begin += RowCode<T>::group) {
      const int end = Kokkos::min(begin + RowCode<T>::group, m.in);
      float largest = 0, poison = 0;
      for (int d = begin; d < end; ++d) {
        largest = Kokkos::fmax(largest, Kokkos::abs(float(x[d])));
        poison += 0 * float(x[d]);
      }
      const RowScale code(largest, poison);
      for (int p = 0; p < PartsV; ++p) {
        std::int32_t total = 0;
        for (int d = begin; d < end; ++d) {
          const std::uint32_t word = load_word(matrix + Panel::word(m, p, column, Panel::line_of(m.in, d)));
          total += integer_code<T>(word, d % Code<T>::inputs) * code(float(x[d]));
        }
        const std::uint32_t word = load_word(matrix + Panel::word(m, p, column, Panel::scale_line_of(m.in, begin)));
        const float scale = Code<T>::scale(word, Panel::scale_of(m.in, begin)) * Code<T>::unit;
        parts[p] = Kokkos::fma(float(total), scale * (code.scale * float(source.factor(row))), parts[p]);
      }
    }
  }
};

/// in = sum_f sum_p dy[p, f] W[p, f, column]: one chain over f, and over p within f.
template <class T, class SourceT, class ScaleT>
struct BackwardChain {
  RowSource<SourceT, ScaleT> source;
  Weights<const T> weights;

  KOKKOS_FUNCTION int columns() const { return weights.extents.in; }
  template <int PartsV, class AccT>
  KOKKOS_FUNCTION void sum(int expert, int row, int column, AccT* result) const {
    const MatrixExtents m = weights.extents;
    const AccT scale = source.factor(row);
    for (int f = 0; f < m.out; ++f) {
      for (int p = 0; p < m.parts; ++p) {
        const AccT value = scale * AccT(source.row(row, p)[f]);
        const AccT w = AccT(weight<RowMajor>(weights(expert), m, p, f, column));
        result[0] = Kokkos::fma(value, w, result[0]);
      }
    }
  }
};

template <class ExecT, class AccT, class ChainT, class EpilogueT>
struct MultiplyTiles {
  Segments segments;
  ChainT chain;
  EpilogueT epilogue;
  int column_tiles;

  using Member = typename Kokkos::TeamPolicy<ExecT>::member_type;

  KOKKOS_FUNCTION void operator()(const Member& team) const {
    const RowTile tile = find_row_tile(segments, team.league_rank() / column_tiles);
    if (tile.expert < 0) return;
    constexpr int groups = tile_columns / dot_columns;
    const int first_column = team.league_rank() % column_tiles * tile_columns;
    Kokkos::parallel_for(Kokkos::TeamThreadRange(team, (tile.end - tile.begin) * groups), [&](int item) {
      group(tile.expert, tile.begin + item / groups, first_column + item % groups * dot_columns);
    });
  }

  KOKKOS_FUNCTION void group(int expert, int row, int first) const {
    const int end = Kokkos::min(first + dot_columns, chain.columns());
    if (first >= end) return;
    AccT dot = 0;
    for (int column = first; column < end; ++column) {
      AccT parts[EpilogueT::parts] = {};
      chain.template sum<EpilogueT::parts>(expert, row, column, parts);
      if constexpr (EpilogueT::row_dot) {
        dot += epilogue(expert, row, column, parts);
      } else {
        epilogue(expert, row, column, parts);
      }
    }
    if constexpr (EpilogueT::row_dot) epilogue.partial(row, first / dot_columns, dot);
  }
};

/// dW[e, p, f, d] (+)= sum_r dy[r, p, f] x[r, d]: one work item for each element, a chain over the rows.
template <class ExecT, class T, class AccT, class DeltaT, class SourceT, class ScaleT>
struct AccumulateWeights {
  Segments segments;
  RowSource<DeltaT, ScaleT> delta;
  RowSource<SourceT, ScaleT> source;
  Weights<T> result;
  bool accumulate;

  using Member = typename Kokkos::TeamPolicy<ExecT>::member_type;

  KOKKOS_FUNCTION void operator()(const Member& team) const {
    const MatrixExtents m = result.extents;
    const int matrix_rows = m.parts * m.out;
    const int expert = team.league_rank() / matrix_rows;
    const int part = team.league_rank() % matrix_rows / m.out, f = team.league_rank() % m.out;
    T* matrix = result(expert);
    if (matrix == nullptr) return;
    Kokkos::parallel_for(Kokkos::TeamThreadRange(team, m.in), [&](int d) {
      T& element = matrix[RowMajor::offset<T>(m, part, f, d)];
      AccT sum = accumulate ? AccT(element) : AccT(0);
      for (int r = segments.begin(expert); r < segments.end(expert); ++r) {
        const AccT dy = AccT(delta.factor(r)) * AccT(delta.row(r, part)[f]);
        const AccT x = AccT(source.factor(r)) * AccT(source.row(r)[d]);
        sum = Kokkos::fma(dy, x, sum);
      }
      element = T(sum);
    });
  }
};

template <class ExecT>
struct EmptyTeam {
  KOKKOS_FUNCTION void operator()(const typename Kokkos::TeamPolicy<ExecT>::member_type&) const {}
};

}  // namespace detail

/// The engine for every backend: teams of Kokkos, matrices in row-major order. Written to be read; it is what the other
/// engines are tested against.
template <class ExecT, class AccT>
class PortableEngine {
 public:
  using Layout = RowMajor;

  PortableEngine() = default;

  /// The first team of an execution space allocates Kokkos' scratch: launch an empty one here, not in forward.
  template <class ArenaT>
  PortableEngine(const ExecT& exec, ArenaT&, EngineLimits) {
    Kokkos::parallel_for("moe::prepare", Kokkos::TeamPolicy<ExecT>(exec, 1, team_size), detail::EmptyTeam<ExecT>{});
  }

  template <class T, class SourceT, class ScaleT, class EpilogueT>
  void forward(const ExecT& exec, const std::string& label, const Segments& segments,
               const RowSource<SourceT, ScaleT>& source, const Weights<const T>& weights,
               const EpilogueT& epilogue) const {
    multiply(exec, label, segments, detail::ForwardChain<T, SourceT, ScaleT>{source, weights}, epilogue);
  }

  template <class T, class SourceT, class ScaleT, class EpilogueT>
  void forward(const ExecT& exec, const std::string& label, const Segments& segments,
               const QuantisedRows<SourceT, ScaleT>& source, const Weights<const T>& weights,
               const EpilogueT& epilogue) const {
    multiply(exec, label, segments, detail::IntegerChain<T, SourceT, ScaleT>{source.rows, weights}, epilogue);
  }

  template <class T, class SourceT, class ScaleT, class EpilogueT>
  void backward_rows(const ExecT& exec, const std::string& label, const Segments& segments,
                     const RowSource<SourceT, ScaleT>& d_source, const Weights<const T>& weights,
                     const EpilogueT& epilogue) const {
    multiply(exec, label, segments, detail::BackwardChain<T, SourceT, ScaleT>{d_source, weights}, epilogue);
  }

  template <class T, class DeltaT, class SourceT, class ScaleT>
  void backward_weights(const ExecT& exec, const std::string& label, const Segments& segments,
                        const RowSource<DeltaT, ScaleT>& d_source, const RowSource<SourceT, ScaleT>& source,
                        const Weights<T>& d_weights, bool accumulate) const {
    const std::int64_t league = std::int64_t(segments.count) * d_weights.extents.parts * d_weights.extents.out;
    if (league == 0) return;
    Kokkos::parallel_for(detail::label_for_tools(label), Kokkos::TeamPolicy<ExecT>(exec, int(league), team_size),
                         detail::AccumulateWeights<ExecT, T, AccT, DeltaT, SourceT, ScaleT>{segments, d_source, source,
                                                                                            d_weights, accumulate});
  }

 private:
  static constexpr bool on_host =
      Kokkos::SpaceAccessibility<Kokkos::HostSpace, typename ExecT::memory_space>::accessible;
  static constexpr int team_size = on_host ? 1 : 64;

  template <class ChainT, class EpilogueT>
  void multiply(const ExecT& exec, const std::string& label, const Segments& segments, const ChainT& chain,
                const EpilogueT& epilogue) const {
    if (segments.max_rows == 0) return;
    const int column_tiles = (chain.columns() + detail::tile_columns - 1) / detail::tile_columns;
    const int row_tiles = segments.max_rows / detail::tile_rows + segments.count;
    const Kokkos::TeamPolicy<ExecT> policy(exec, row_tiles * column_tiles, team_size);
    Kokkos::parallel_for(
        detail::label_for_tools(label), policy,
        detail::MultiplyTiles<ExecT, AccT, ChainT, EpilogueT>{segments, chain, epilogue, column_tiles});
  }
};

}  // namespace moe
