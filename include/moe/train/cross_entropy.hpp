#pragma once

#include <moe/core/macros.hpp>
#include <moe/core/math.hpp>
#include <moe/core/reduce.hpp>
#include <moe/core/simd.hpp>
#include <moe/core/view.hpp>
#include <moe/layer/block.hpp>
#include <moe/train/elements.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

namespace moe {
namespace detail {

/// What a target is: counted in the mean, left out on purpose, or out of range.
enum class TargetKind { valid, ignored, invalid };

template <class TargetsT>
struct Targets {
  TargetsT view;
  std::int64_t ignore_index;
  std::int64_t classes;

  KOKKOS_FUNCTION TargetKind kind(std::int64_t row) const {
    const std::int64_t target = std::int64_t(view(row));
    if (target == ignore_index) return TargetKind::ignored;
    return target >= 0 && target < classes ? TargetKind::valid : TargetKind::invalid;
  }
  /// Term of a column sum: one column for each kind.
  KOKKOS_FUNCTION int operator()(std::int64_t row, std::int64_t column) const {
    return std::int64_t(kind(row)) == column ? 1 : 0;
  }
};

template <class T, class TargetsT, class LogitsT, class GradientT>
struct CrossEntropyRow {
  TargetsT targets;
  LogitsT logits;
  GradientT gradient;  ///< may be the logits; without data: the loss alone
  T* losses;
  const int* num_valid;
  T scale;

  static constexpr int lanes = 16;  ///< of the row's interleaved sums
  static constexpr T lowest = -std::numeric_limits<T>::infinity();

  template <class LeafT, class V>
  MOE_INLINE void run(std::int64_t t) const {
    const int classes = int(targets.classes);
    const T* const from = &logits(t, 0);
    T* const to = gradient.data() == nullptr ? nullptr : &gradient(t, 0);
    if (targets.kind(t) != TargetKind::valid) {
      losses[t] = 0;
      for (int c = 0; to != nullptr && c < classes; ++c) to[c] = 0;
      return;
    }
    const std::int64_t target = std::int64_t(targets.view(t));
    const T largest = maximum<V>(from, classes), wanted = from[target];
    const T sum = exponentials<V>(from, to, classes, largest);
    losses[t] = Kokkos::log(sum) + largest - wanted;
    if (to == nullptr) return;
    const T weight = scale / T(*num_valid);
    const V factor = weight / sum;
    for (int c = 0; c < classes; c += simd::lanes<V>) {
      store_first(to + c, load_first<V>(to + c, classes - c) * factor, classes - c);
    }
    to[target] -= weight;
  }

  /// A NaN is left to the sum.
  template <class V>
  static MOE_INLINE T maximum(const T* from, int n) {
    constexpr int step = simd::lanes<V>, chains = lanes / step;
    V best[chains];
    for (int k = 0; k < chains; ++k) best[k] = V(lowest);
    for (int c = 0; c < n; c += lanes) {
      for (int k = 0; k < chains && c + k * step < n; ++k) {
        best[k] = math::max(best[k], load_first<V>(from + c + k * step, n - c - k * step, lowest));
      }
    }
    T largest = lowest;
    for (int lane = 0; lane < lanes; ++lane) largest = math::max(largest, simd::lane(best[lane / step], lane % step));
    return largest;
  }

  /// The sum of exp(from - largest), in 16 interleaved sums that are added in order; stores the terms if `to` is given.
  template <class V>
  static MOE_INLINE T exponentials(const T* from, T* to, int n, T largest) {
    constexpr int step = simd::lanes<V>, chains = lanes / step;
    V sums[chains];
    for (int k = 0; k < chains; ++k) sums[k] = V(T(0));
    for (int c = 0; c < n; c += lanes) {
      for (int k = 0; k < chains && c + k * step < n; ++k) {
        const int at = c + k * step;
        // what fills a tail is exactly zero
        const V value = math::exp(load_first<V>(from + at, n - at, lowest) - V(largest));
        if (to != nullptr) store_first(to + at, value, n - at);
        sums[k] += value;
      }
    }
    T sum = 0;
    for (int lane = 0; lane < lanes; ++lane) sum += simd::lane(sums[lane / step], lane % step);
    return sum;
  }
};

/// Column 0: the losses; column 1: how many of them are NaN or infinite.
template <class T>
struct LossTerm {
  const T* losses;
  KOKKOS_FUNCTION T operator()(std::int64_t row, std::int64_t column) const {
    return column == 0 ? losses[row] : T(Kokkos::isfinite(losses[row]) ? 0 : 1);
  }
};
template <class T>
struct StoreMeanLoss {
  T* mean;
  int* num_non_finite;
  const int* num_valid;
  KOKKOS_FUNCTION void operator()(std::int64_t column, T sum) const {
    if (column == 0) {
      *mean = *num_valid == 0 ? T(0) : sum / T(*num_valid);
    } else {
      *num_non_finite = int(sum);
    }
  }
};

}  // namespace detail

/// Softmax cross-entropy in nats, the mean over the valid targets, as torch.nn.functional.cross_entropy:
///
///     loss = 1/n sum over valid t of (log sum_v exp(logits[t, v]) - logits[t, target[t]])
///     d_logits[t, v] = scale / n * (softmax(logits[t])[v] - [v = target[t]])
///
///     moe::CrossEntropy cross_entropy;
///     auto loss = cross_entropy.workspace(exec, max_tokens);                        // once
///     cross_entropy(exec, logits, targets, loss);                                   // loss.mean: a View of one
///     cross_entropy(exec, logits, targets, d_logits, loss, 1.0 / micro_batches);    // d_logits may be logits
///
/// Targets are integers of any type. A row whose target is ignore_index has no loss and a gradient of zero, and so has one
/// whose target is out of range, which torch refuses; both are counted. With no valid target at all the loss is 0 (torch: NaN).
/// A NaN among the logits of a row makes its loss and gradient NaN; such rows are counted too. Sums have a
/// fixed order: the same bits for any number of threads.
///
/// For gradient accumulation give each micro-batch the share of its targets as scale: 1 / micro_batches where they
/// are equally long; d_logits is all that it scales.
struct CrossEntropy {
  std::int64_t ignore_index = -100;

  template <class T, class MemoryT>
  struct Workspace {
    Vector<T, MemoryT> mean;              ///< [1], the loss
    Vector<T, MemoryT> rows;              ///< [max_tokens], the loss of each row
    Vector<int, MemoryT> num_valid;       ///< [1], targets in the mean
    Vector<int, MemoryT> num_ignored;     ///< [1], targets equal to ignore_index
    Vector<int, MemoryT> num_invalid;     ///< [1], targets out of range
    Vector<int, MemoryT> num_non_finite;  ///< [1], rows whose loss is NaN or infinite
    Vector<int, MemoryT> counts;          ///< [4], the four above, next to each other
    detail::ColumnSum<int> count;
    detail::ColumnSum<T> sum;
    int max_tokens = 0;
  };

  /// All scratch and the results. T: the type of the logits, float or double.
  template <class T = float, class ExecT>
  auto workspace(const ExecT& exec, int max_tokens) const {
    detail::expect_at_least("moe::CrossEntropy", "max_tokens", 0, max_tokens);
    using memory = typename ExecT::memory_space;
    const auto make = [&](auto& arena) {
      Workspace<T, memory> w;
      w.mean = arena.template vector<T>(1);
      w.rows = arena.template vector<T>(max_tokens);
      w.counts = arena.template vector<int>(4);
      const auto counter = [&](int i) { return Vector<int, memory>(w.counts.data() + i, 1); };
      w.num_valid = counter(0);
      w.num_ignored = counter(1);
      w.num_invalid = counter(2);
      w.num_non_finite = counter(3);
      w.count = detail::ColumnSum<int>(arena, max_tokens, 3);
      w.sum = detail::ColumnSum<T>(arena, max_tokens, 2);
      w.max_tokens = max_tokens;
      return w;
    };
    return detail::carve(exec, detail::allocate(exec, "moe::cross_entropy", detail::measure<ExecT>(make)), make);
  }

  /// The loss alone.
  template <class ExecT, class LogitsT, class TargetsT, class T, class MemoryT>
  void operator()(const ExecT& exec, const LogitsT& logits, const TargetsT& targets,
                  const Workspace<T, MemoryT>& workspace) const {
    run(exec, logits, targets, Matrix<T, MemoryT>(nullptr, 0, 0), workspace, 0);
  }

  /// The loss and its gradient, times `scale`; overwrites d_logits. Asynchronous, no allocation.
  /// \throws Error if the sizes of logits, targets and d_logits differ or exceed max_tokens.
  template <class ExecT, class LogitsT, class TargetsT, class GradientT, class T, class MemoryT>
  void operator()(const ExecT& exec, const LogitsT& logits, const TargetsT& targets, const GradientT& d_logits,
                  const Workspace<T, MemoryT>& workspace, double scale = 1) const {
    run(exec, logits, targets,
        detail::checked_matrix<T, MemoryT>("moe::CrossEntropy, d_logits", d_logits, logits.extent(0), logits.extent(1)),
        workspace, scale);
  }

 private:
  template <class ExecT, class LogitsT, class TargetsT, class T, class MemoryT>
  void run(const ExecT& exec, const LogitsT& logits, const TargetsT& targets, const Matrix<T, MemoryT>& d_logits,
           const Workspace<T, MemoryT>& workspace, double scale) const {
    const std::string& count_label = detail::kernel_label<"moe::cross_entropy::count">;
    const std::string& row_label = detail::kernel_label<"moe::cross_entropy::rows">;
    const std::string& sum_label = detail::kernel_label<"moe::cross_entropy::sum">;
    static_assert(Kokkos::is_view_v<TargetsT>, "moe: targets must be a Kokkos::View of integers of rank 1, [tokens]");
    static_assert(TargetsT::rank == 1 && std::is_integral_v<typename TargetsT::non_const_value_type>,
                  "moe: targets must be a Kokkos::View of integers of rank 1, [tokens]");
    const auto rows = detail::as_matrix<const T, MemoryT>("moe::CrossEntropy, logits", logits);
    const std::int64_t tokens = std::int64_t(rows.extent(0));
    detail::expect_at_most("moe::CrossEntropy", "rows of the logits (max_tokens)", workspace.max_tokens, tokens);
    detail::expect_extent("moe::CrossEntropy", "number of targets", tokens, std::int64_t(targets.extent(0)));

    using Targets = detail::Targets<TargetsT>;
    using Rows = Matrix<const T, MemoryT>;
    int* const counts = workspace.counts.data();
    const Targets checked{targets, ignore_index, std::int64_t(rows.extent(1))};
    workspace.count(exec, count_label, tokens, 3, checked, detail::StoreSum<int>{counts, false});
    detail::launch_items<T>(exec, row_label, tokens,
                            detail::CrossEntropyRow<T, Targets, Rows, Matrix<T, MemoryT>>{
                                checked, rows, d_logits, workspace.rows.data(), counts, T(scale)});
    workspace.sum(exec, sum_label, tokens, 2, detail::LossTerm<T>{workspace.rows.data()},
                  detail::StoreMeanLoss<T>{workspace.mean.data(), counts + 3, counts});
  }
};

}  // namespace moe
