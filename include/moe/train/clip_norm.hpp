#pragma once

#include <moe/core/error.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/parameters.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <string>
#include <type_traits>

namespace moe {
namespace detail {

/// Elements whose squares one work item adds. Fixed: the order of additions must not depend on the number of threads.
inline constexpr std::int64_t norm_block = 1024;

inline std::int64_t num_norm_blocks(std::int64_t count) { return (count + norm_block - 1) / norm_block; }

/// Sum of term(i) over [begin, end) as 16 interleaved sums that are added in order, which fills vectors.
template <class TermT>
KOKKOS_INLINE_FUNCTION double interleaved_sum_of(std::int64_t begin, std::int64_t end, const TermT& term) {
  constexpr int lanes = 16;
  double sums[lanes] = {};
  std::int64_t i = begin;
  for (; i + lanes <= end; i += lanes) {
    for (int lane = 0; lane < lanes; ++lane) sums[lane] += term(i + lane);
  }
  for (int lane = 0; i + lane < end; ++lane) sums[lane] += term(i + lane);
  double total = 0;
  for (int lane = 0; lane < lanes; ++lane) total += sums[lane];
  return total;
}

template <class T>
struct SquareAt {
  const T* data;
  KOKKOS_FUNCTION double operator()(std::int64_t i) const { return double(data[i]) * double(data[i]); }
};
struct ValueAt {
  const double* data;
  KOKKOS_FUNCTION double operator()(std::int64_t i) const { return data[i]; }
};

template <class T>
struct SumSquares {
  const T* data;
  std::int64_t count;
  double* partial;
  KOKKOS_FUNCTION void operator()(std::int64_t block) const {
    partial[block] =
        interleaved_sum_of(block * norm_block, Kokkos::min(count, (block + 1) * norm_block), SquareAt<T>{data});
  }
};

struct StoreNorm {
  const double* partial;
  std::int64_t blocks;
  double* norm;
  KOKKOS_FUNCTION void operator()(std::int64_t) const {
    *norm = Kokkos::sqrt(interleaved_sum_of(0, blocks, ValueAt{partial}));
  }
};

template <class T>
struct ScaleToNorm {
  T* data;
  const double* norm;
  double max_norm;
  std::int64_t count;

  /// One item a block: where nothing is to be clipped, a block costs the reading of one number.
  KOKKOS_FUNCTION void operator()(std::int64_t block) const {
    const double wanted = max_norm / (*norm + 1e-6);
    if (wanted >= 1) return;  // and not for NaN
    const T factor = T(wanted);
    const std::int64_t end = Kokkos::min(count, (block + 1) * norm_block);
    for (std::int64_t i = block * norm_block; i < end; ++i) data[i] *= factor;
  }
};

}  // namespace detail

/// Clips gradients by the norm of all of them together, as torch.nn.utils.clip_grad_norm_:
///
///     norm = sqrt(sum of all g^2)        g *= min(1, max_norm / (norm + 1e-6))
///
///     moe::ClipNorm clip{.max_norm = 1};
///     auto norm = clip.workspace(exec, gradients);    // once
///     clip(exec, norm, gradients);                    // norm.norm: a View of one, before clipping
///
/// Squares are added in double, in fixed blocks: the same bits for any number of threads. The factor is computed and
/// applied on the device; nothing is read back. A norm that is NaN makes every gradient NaN, as in torch.
struct ClipNorm {
  double max_norm = 1;

  template <class ExecT>
  struct Workspace {
    Kokkos::View<double*, typename ExecT::memory_space> partial;
    Kokkos::View<double*, typename ExecT::memory_space> norm;  ///< [1], of the last call, before clipping
  };

  /// For these trees of gradients, or others of the same sizes.
  template <class ExecT, class... GradientsT>
  Workspace<ExecT> workspace(const ExecT& exec, const GradientsT&... gradients) const {
    Workspace<ExecT> made;
    using ViewT = Kokkos::View<double*, typename ExecT::memory_space>;
    made.partial = ViewT(Kokkos::view_alloc(exec, "moe::clip_norm::partial"), blocks(gradients...));
    made.norm = ViewT(Kokkos::view_alloc(exec, "moe::clip_norm::norm"), 1);
    return made;
  }

  /// Asynchronous; two kernels a tensor and one more; no allocation.
  /// \throws Error if the workspace was made for other gradients.
  template <class ExecT, class... GradientsT>
  void operator()(const ExecT& exec, const Workspace<ExecT>& workspace, const GradientsT&... gradients) const {
    detail::expect_extent("moe::ClipNorm", "blocks of the workspace", blocks(gradients...),
                          std::int64_t(workspace.partial.extent(0)));
    double* partial = workspace.partial.data();
    each(
        [&](auto* data, std::int64_t count) {
          using T = std::remove_pointer_t<decltype(data)>;
          const std::string& label = detail::kernel_label<"moe::clip_norm::sum">;
          detail::launch(exec, label, detail::num_norm_blocks(count), detail::SumSquares<T>{data, count, partial});
          partial += detail::num_norm_blocks(count);
        },
        gradients...);
    const std::string& store_label = detail::kernel_label<"moe::clip_norm::store">;
    detail::launch(
        exec, store_label, 1,
        detail::StoreNorm{workspace.partial.data(), std::int64_t(workspace.partial.extent(0)), workspace.norm.data()});
    each(
        [&](auto* data, std::int64_t count) {
          using T = std::remove_pointer_t<decltype(data)>;
          const std::string& label = detail::kernel_label<"moe::clip_norm::scale">;
          detail::launch(exec, label, detail::num_norm_blocks(count),
                         detail::ScaleToNorm<T>{data, workspace.norm.data(), max_norm, count});
        },
        gradients...);
  }

 private:
  /// f(data, elements) for the storage of each tensor. Padding is zero, and adds nothing.
  template <class F, class... GradientsT>
  static void each(F&& f, const GradientsT&... gradients) {
    (for_each_tensor([&](const auto& g) { f(g.storage.data(), std::int64_t(g.storage.extent(0))); }, gradients), ...);
  }
  template <class... GradientsT>
  static std::int64_t blocks(const GradientsT&... gradients) {
    std::int64_t sum = 0;
    each([&](auto*, std::int64_t count) { sum += detail::num_norm_blocks(count); }, gradients...);
    return sum;
  }
};

}  // namespace moe
