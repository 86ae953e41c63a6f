#pragma once

#include <moe/core/kernel.hpp>
#include <moe/core/operands.hpp>
#include <moe/gemm/engine.hpp>
#include <moe/gemm/host/block.hpp>
#include <moe/gemm/host/integer.hpp>
#include <moe/gemm/host/isa.hpp>
#include <moe/gemm/host/rows.hpp>
#include <moe/gemm/host/scratch.hpp>
#include <moe/gemm/host/weights.hpp>

#include <Kokkos_Core.hpp>

#include <string>
#include <type_traits>

namespace moe {

/// The engine for CPUs: Serial, OpenMP, Threads. Matrices in panels; rows are packed in tiles, once per thread and
/// chunk; the leaves are those of `host_isa()` at the time it is made. One launch per product, in which threads take
/// tasks from a shared counter.
///
/// Scratch per thread: a chunk of at most 192 packed rows (2 MiB, or 64 rows where that is more), a block of lines (128 KiB)
/// and of sums (96 KiB). It depends on limits.rows and limits.columns only. AccT is the type of the sums and of gradients;
/// the weights have it too, or are decoded: a block at a time for many rows, in registers for few. Rows of bfloat16 times
/// weights of bfloat16 or quantised ones are products of two terms at once on machines that have them (avx512_bf16), unless
/// the rows have scales or an odd number of inputs; weights are then rounded to bfloat16.
template <class ExecT, class AccT>
class HostEngine {
  static_assert(Kokkos::SpaceAccessibility<Kokkos::HostSpace, typename ExecT::memory_space>::accessible,
                "moe::HostEngine: the execution space must be one of the host: Serial, OpenMP or Threads");

 public:
  using Layout = Panels;

  HostEngine() = default;
  template <class ArenaT>
  HostEngine(const ExecT& exec, ArenaT& arena, EngineLimits limits)
      : scratch_(arena, exec.concurrency(), limits), isa_(host_isa()) {}

  template <class T, class SourceT, class ScaleT, class EpilogueT>
  void forward(const ExecT& exec, const std::string& label, const Segments& segments,
               const RowSource<SourceT, ScaleT>& source, const Weights<const T>& weights,
               const EpilogueT& epilogue) const {
    if constexpr (may_be_pairs<SourceT, T>) {
      if (isa_ == HostIsa::avx512_bf16 && source.scale == nullptr && weights.extents.in % 2 == 0) {
        const auto coded = detail::with_pair_leaf(detail::PickCodedLeaf<T>{});
        const auto leaf = detail::with_pair_leaf(detail::PickLeaf<AccT>{});
        return rows(exec, label, segments, source, detail::ForwardMatrix<AccT, T>{weights, coded}, leaf, epilogue);
      }
    }
    rows(exec, label, segments, source, detail::ForwardMatrix<AccT, T>{weights, coded<T>()}, leaf(), epilogue);
  }

  template <class T, class SourceT, class ScaleT, class EpilogueT>
  void forward([[maybe_unused]] const ExecT& exec, [[maybe_unused]] const std::string& label, const Segments& segments,
               [[maybe_unused]] const QuantisedRows<SourceT, ScaleT>& source,
               [[maybe_unused]] const Weights<const T>& weights, [[maybe_unused]] const EpilogueT& epilogue) const {
#if !defined(__CUDA_ARCH__)
    if (segments.max_rows == 0) return;
    detail::launch(exec, label, scratch_.concurrency,
                   detail::WithEpilogue<detail::MultiplyIntegers<T, SourceT, ScaleT>, EpilogueT>{
                       {segments, source.rows, weights, scratch_,
                        detail::with_byte_leaf(isa_, detail::PickIntegerLeaf<T, SourceT>{}), finisher<EpilogueT>()},
                       epilogue});
#endif
  }

  template <class T, class SourceT, class ScaleT, class EpilogueT>
  void backward_rows(const ExecT& exec, const std::string& label, const Segments& segments,
                     const RowSource<SourceT, ScaleT>& d_source, const Weights<const T>& weights,
                     const EpilogueT& epilogue) const {
    rows(exec, label, segments, d_source, detail::BackwardMatrix<AccT, T>{weights, coded<T>()}, leaf(), epilogue);
  }

  template <class DeltaT, class SourceT, class ScaleT>
  void backward_weights(const ExecT& exec, const std::string& label, const Segments& segments,
                        const RowSource<DeltaT, ScaleT>& d_source, const RowSource<SourceT, ScaleT>& source,
                        const Weights<AccT>& d_weights, bool accumulate) const {
#if !defined(__CUDA_ARCH__)
    detail::launch(exec, label, scratch_.concurrency,
                   detail::AccumulatePanels<AccT, DeltaT, SourceT, ScaleT>{segments, d_source, source, d_weights,
                                                                           accumulate, scratch_, leaf()});
#endif
  }

 private:
  template <class EpilogueT>
  detail::Finisher finisher() const {
    return detail::with_leaf(isa_, detail::PickFinisher<AccT, EpilogueT>{});
  }

  /// Whether there are machines that multiply these rows and weights two terms at a time.
  template <class SourceT, class T>
  static constexpr bool may_be_pairs = std::is_same_v<SourceT, bfloat16> &&
                                       (std::is_same_v<T, bfloat16> || is_quantised_v<T>);
  template <class T>
  detail::CodedLeaf<T> coded() const {
    if constexpr (std::is_same_v<T, AccT>) {
      return {};
    } else {
      return detail::with_leaf(isa_, detail::PickCodedLeaf<T>{});
    }
  }
  detail::Leaf<AccT> leaf() const { return detail::with_leaf(isa_, detail::PickLeaf<AccT>{}); }

  template <class SourceT, class ScaleT, class MatrixT, class EpilogueT>
  void rows(const ExecT& exec, const std::string& label, const Segments& segments,
            const RowSource<SourceT, ScaleT>& source, const MatrixT& matrix, const detail::Leaf<AccT>& leaf,
            const EpilogueT& epilogue) const {
#if !defined(__CUDA_ARCH__)  // nvcc's device pass reads this too, but knows no vectors
    if (segments.max_rows == 0) return;
    detail::launch(exec, label, scratch_.concurrency,
                   detail::WithEpilogue<detail::MultiplyRows<AccT, MatrixT, SourceT, ScaleT>, EpilogueT>{
                       {segments, source, matrix, scratch_, leaf, finisher<EpilogueT>()}, epilogue});
#endif
  }

  detail::HostScratch scratch_;
  HostIsa isa_ = HostIsa::baseline;
};

}  // namespace moe
