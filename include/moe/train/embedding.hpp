#pragma once

#include <moe/core/counting_sort.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/parameters.hpp>
#include <moe/core/precision.hpp>
#include <moe/core/reduce.hpp>
#include <moe/core/shape.hpp>
#include <moe/layer/block.hpp>

#include <Kokkos_Core.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

namespace moe {
namespace detail {

/// Columns that one work item of an embedding handles.
inline constexpr int embedding_columns = 16;

/// out[t, place * width + c] = table[ids[t, place], c]
template <class T, class IdsT, class OutT>
struct EmbedRows {
  const T* table;
  IdsT ids;
  OutT out;
  int rows;
  int width;

  KOKKOS_FUNCTION void operator()(std::int64_t i) const {
    const std::int64_t places = std::int64_t(ids.extent(1));
    const std::int64_t t = i / places, place = i % places;
    const std::int64_t id = std::int64_t(ids(t, place));
    T* const to = &out(t, place * width);
    if (id < 0 || id >= rows) {
      for (int c = 0; c < width; ++c) to[c] = 0;
      return;
    }
    const T* const from = table + id * width;
    for (int c = 0; c < width; ++c) to[c] = from[c];
  }
};

/// Keeps the ids for backward, as ints; -1 for what is out of range.
template <class IdsT>
struct KeepIds {
  IdsT ids;
  int* kept;
  int rows;
  KOKKOS_FUNCTION void operator()(std::int64_t i) const {
    const std::int64_t places = std::int64_t(ids.extent(1));
    const std::int64_t id = std::int64_t(ids(i / places, i % places));
    kept[i] = id < 0 || id >= rows ? -1 : int(id);
  }
};
template <class IdsT>
struct OutOfRange {
  IdsT ids;
  int rows;
  /// -1 is a place that is empty on purpose.
  KOKKOS_FUNCTION int operator()(std::int64_t t, std::int64_t) const {
    int sum = 0;
    for (std::int64_t place = 0; place < std::int64_t(ids.extent(1)); ++place) {
      const std::int64_t id = std::int64_t(ids(t, place));
      sum += id < -1 || id >= rows ? 1 : 0;
    }
    return sum;
  }
};

/// What the counting sort asks of the ids: an id's row, and where to note which place is its next one.
struct RowOfPlace {
  const int* ids;
  KOKKOS_FUNCTION int operator()(std::int64_t place) const { return ids[place]; }
};
struct NotePlace {
  int* order;
  KOKKOS_FUNCTION void operator()(std::int64_t place, int position) const {
    if (position >= 0) order[position] = int(place);
  }
};

/// gradient[row, c] (+)= sum over the places that name the row, in their order, of dy
template <class T, class DyT>
struct SumRows {
  T* gradient;
  DyT dy;
  const int* offsets;
  const int* order;
  int places;
  int width;
  bool accumulate;

  KOKKOS_FUNCTION void operator()(std::int64_t i) const {
    const int chunks = (width + embedding_columns - 1) / embedding_columns;
    const int row = int(i / chunks), first = int(i % chunks) * embedding_columns;
    if (width - first >= embedding_columns) {
      sum(row, first, Size<embedding_columns>{});
    } else {
      sum(row, first, width - first);
    }
  }

  template <class CountT>
  KOKKOS_FUNCTION void sum(int row, int first, CountT columns) const {
    T* const to = gradient + std::int64_t(row) * width + first;
    T sums[embedding_columns] = {};
    if (accumulate) {
      for (int c = 0; c < columns; ++c) sums[c] = to[c];
    }
    for (int i = offsets[row]; i < offsets[row + 1]; ++i) {
      const T* const from = &dy(order[i] / places, order[i] % places * width + first);
      for (int c = 0; c < columns; ++c) sums[c] += from[c];
    }
    for (int c = 0; c < columns; ++c) to[c] = sums[c];
  }
};

}  // namespace detail

/// Rows of a table, chosen by ids and put side by side: ids [tokens, places] -> y [tokens, places * width],
///
///     y[t, j * width + c] = weight[ids[t, j], c]
///
/// One place: the embedding of each token. Several: a window of the last bytes, concatenated. An id of -1 is a place that
/// is empty on purpose (before the beginning of the text): zeros, and no gradient. So is any other id out of range, but
/// those are counted on the tape. The gradient of a row is the sum over the places that name it in ascending order, found by
/// a counting sort: no atomics, the same bits for any number of threads.
///
/// It has a block's functions, but for what dx would be: parameters, gradients, tape, workspace, forward, backward.
/// weight starts normal with the given standard deviation (1, as torch.nn.Embedding), without weight decay.
template <class PrecisionT = Precision<>>
class Embedding : public Block<Embedding<PrecisionT>> {
 public:
  using storage = typename PrecisionT::storage;
  using compute = typename PrecisionT::compute;

  template <class ExecT>
  struct Parameters {
    Tensor<storage, typename ExecT::memory_space> weight;  ///< [rows, width]

    template <class F, class... TreesT>
    static void for_each(F&& f, TreesT&... trees) {
      f(trees.weight...);
    }
  };
  template <class ExecT>
  struct Tape {
    Vector<int, typename ExecT::memory_space> out_of_range;  ///< [1], ids of the last forward pass, but for -1
    Vector<int, typename ExecT::memory_space> ids;
    std::int64_t num_tokens = 0;
    int max_tokens = 0;
  };
  template <class ExecT>
  struct Workspace {
    detail::CountingSort sort;
    int* offsets = nullptr;  ///< [rows + 1]
    int* order = nullptr;    ///< [tokens * places]
    detail::ColumnSum<int> count;
    int max_tokens = 0;
  };

  /// \throws Error if a size is not positive.
  Embedding(int rows, int width, int places = 1, double stddev = 1, const PrecisionT& = {})
      : rows_(rows), width_(width), places_(places), stddev_(stddev) {
    detail::expect_at_least("moe::Embedding", "rows", 1, rows);
    detail::expect_at_least("moe::Embedding", "width", 1, width);
    detail::expect_at_least("moe::Embedding", "places", 1, places);
  }

  int rows() const { return rows_; }
  int width() const { return width_; }
  int places() const { return places_; }
  int out() const { return places_ * width_; }

  /// y = the rows that ids names. ids: a View of integers [tokens, places], of any layout: a window over a text may be
  /// strided, so that neighbouring tokens share their bytes.
  template <class ExecT, class IdsT, class YT, class WorkspaceT>
  void forward(const ExecT& exec, const Parameters<ExecT>& p, const IdsT& ids, const YT& y,
               WorkspaceT& workspace) const {
    check(ids, workspace.max_tokens);
    run(exec, p, ids, y);
  }
  /// The same, and keeps the ids on the tape.
  template <class ExecT, class IdsT, class YT, class TapeT, class WorkspaceT>
  void forward(const ExecT& exec, const Parameters<ExecT>& p, const IdsT& ids, const YT& y, TapeT& tape,
               WorkspaceT& workspace) const {
    const std::string& label = detail::kernel_label<"moe::embedding::keep">;
    check(ids, std::min(tape.max_tokens, workspace.max_tokens));
    run(exec, p, ids, y);
    tape.num_tokens = std::int64_t(ids.extent(0));
    detail::launch(exec, label, tape.num_tokens * places_, detail::KeepIds<IdsT>{ids, tape.ids.data(), rows_});
    workspace.count(exec, label, tape.num_tokens, 1, detail::OutOfRange<IdsT>{ids, rows_},
                    detail::StoreSum<int>{tape.out_of_range.data(), false});
  }

  /// The gradient of the table.
  template <class ExecT, class TapeT, class DyT, class WorkspaceT>
  void backward(const ExecT& exec, const Parameters<ExecT>&, const TapeT& tape, const DyT& dy,
                const Parameters<ExecT>& g, WorkspaceT& workspace, const Backward& options = {}) const {
    const std::string& sort_label = detail::kernel_label<"moe::embedding::sort">;
    const std::string& sum_label = detail::kernel_label<"moe::embedding::backward">;
    using In = Matrix<const storage, typename ExecT::memory_space>;
    const In delta = detail::checked_matrix<const storage, typename ExecT::memory_space>(
        "moe::Embedding::backward, dy", dy, std::size_t(tape.num_tokens), std::size_t(out()));
    if (g.weight.empty()) return;
    workspace.sort(exec, sort_label, tape.num_tokens * places_, detail::RowOfPlace{tape.ids.data()}, workspace.offsets,
                   detail::NotePlace{workspace.order});
    const int chunks = (width_ + detail::embedding_columns - 1) / detail::embedding_columns;
    // Dynamic: neighbouring rows are often all frequent (letters) or all rare. The chunk is given for the reason that
    // detail::launch gives it.
    using PolicyT = Kokkos::RangePolicy<ExecT, Kokkos::Schedule<Kokkos::Dynamic>, Kokkos::IndexType<std::int64_t>>;
    Kokkos::parallel_for(detail::label_for_tools(sum_label),
                         PolicyT(exec, 0, std::int64_t(rows_) * chunks, Kokkos::ChunkSize(4)),
                         detail::SumRows<storage, In>{g.weight.storage.data(), delta, workspace.offsets,
                                                      workspace.order, places_, width_, options.accumulate});
  }

  template <class MakerT>
  auto make_parameters(const MakerT& maker) const {
    return Parameters<typename MakerT::exec>{maker.template make<storage, RowMajor>(
        {"weight", {rows_, width_}, 1, {1, rows_, width_}, {.decay = false}}, Normal{stddev_})};
  }
  template <class ExecT, class ArenaT>
  Tape<ExecT> make_tape(const ExecT&, ArenaT& arena, int max_tokens) const {
    Tape<ExecT> tape;
    tape.out_of_range = arena.template vector<int>(1);
    tape.ids = arena.template vector<int>(std::int64_t(max_tokens) * places_);
    tape.max_tokens = max_tokens;
    return tape;
  }
  template <class ExecT, class ArenaT>
  Workspace<ExecT> make_workspace(const ExecT&, ArenaT& arena, int max_tokens, Use use) const {
    Workspace<ExecT> w;
    w.max_tokens = max_tokens;
    if (use == Use::inference) return w;
    const std::int64_t count = std::int64_t(max_tokens) * places_;
    detail::expect_at_most("moe::Embedding", "max_tokens * places", std::numeric_limits<int>::max(), count);
    w.sort = detail::CountingSort(arena, count, rows_);
    w.offsets = arena.template take<int>(rows_ + 1);
    w.order = arena.template take<int>(count);
    w.count = detail::ColumnSum<int>(arena, max_tokens, 1);
    return w;
  }

 private:
  template <class IdsT>
  void check(const IdsT& ids, int max_tokens) const {
    static_assert(Kokkos::is_view_v<IdsT>, "moe: ids must be a Kokkos::View of integers of rank 2, [tokens, places]");
    static_assert(IdsT::rank == 2 && std::is_integral_v<typename IdsT::non_const_value_type>,
                  "moe: ids must be a Kokkos::View of integers of rank 2, [tokens, places]");
    detail::expect_extent("moe::Embedding::forward", "columns of ids (places)", places_, std::int64_t(ids.extent(1)));
    detail::expect_at_most("moe::Embedding::forward", "rows of ids (max_tokens of the workspace or tape)", max_tokens,
                           std::int64_t(ids.extent(0)));
  }
  template <class ExecT, class IdsT, class YT>
  void run(const ExecT& exec, const Parameters<ExecT>& p, const IdsT& ids, const YT& y) const {
    const std::string& label = detail::kernel_label<"moe::embedding::forward">;
    using Out = Matrix<storage, typename ExecT::memory_space>;
    const Out to = detail::checked_matrix<storage, typename ExecT::memory_space>("moe::Embedding::forward, y", y,
                                                                                 ids.extent(0), std::size_t(out()));
    detail::launch(exec, label, std::int64_t(ids.extent(0)) * places_,
                   detail::EmbedRows<storage, IdsT, Out>{p.weight.storage.data(), ids, to, rows_, width_});
  }

  int rows_;
  int width_;
  int places_;
  double stddev_;
};

}  // namespace moe
