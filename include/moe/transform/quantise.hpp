#pragma once

#include <moe/core/convert.hpp>
#include <moe/core/error.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/parameters.hpp>
#include <moe/core/tensor.hpp>

#include <Kokkos_Core.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace moe {

/// \file
/// Weights of a trained model as weights of another type: bfloat16, half, int8, int4, mxfp4.
///
///     moe::Layer layer{...};                              auto parameters = layer.parameters(exec);     // trained, or loaded
///     auto small = moe::quantised<moe::int8>(layer);      auto weights = small.parameters(exec);
///     moe::quantise(exec, parameters, weights);
///     exec.fence();
///     parameters = {};                                    // the float weights are gone
///
/// A model that fits into memory only when it is quantised is loaded into its quantised layer straight from the file of the
/// float one: moe::load("model.safetensors", weights), which reads one expert's matrix at a time (moe/io/checkpoint.hpp).

/// The same block, whose experts' matrices are stored as WeightT, and whose rows are rounded to a byte where they are
/// multiplied with them if RowT is int8 (see Precision): a Layer or SoftMixture, or a Chain, Residual, Shared or
/// TokenSkip of them. Blocks without experts stay as they are. A block of your own gets a member
/// `template <class WeightT, class RowT> auto with_weights() const`.
template <class WeightT, class RowT = ExactRows, class BlockT>
auto quantised(const BlockT& block) {
  static_assert(
      requires { block.template with_weights<WeightT, RowT>(); },
      "moe: quantised<WeightT>(block) asks the block for with_weights<WeightT>(), the same block whose experts' "
      "matrices "
      "are stored as WeightT: Layer, SoftMixture, Chain, Residual, Shared and TokenSkip have it");
  return block.template with_weights<WeightT, RowT>();
}

namespace detail {

/// f(a, b) for the tensors of two trees of the same structure, which need not be of the same types.
/// \throws Error if the trees have not the same tensors, before f is called.
template <class F, class FromT, class ToT>
void for_each_pair(const char* where, F&& f, const FromT& from, const ToT& to) {
  const auto each = [&](auto&& visit) {
    FromT::for_each([&](const auto& a, const auto& b) { visit(a, b); }, from, to);
  };
  const auto fail = [&](const std::string& sentence) { throw Error(std::string(where) + ": " + sentence); };
  const auto text = [](const std::vector<int>& shape) {
    std::string list = "[";
    for (std::size_t i = 0; i < shape.size(); ++i) list += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
    return list + "]";
  };
  each([&](const auto& a, const auto& b) {
    if (a.empty() != b.empty()) {
      const auto& [there, lacks] = a.empty() ? std::pair(b.name, "first") : std::pair(a.name, "second");
      fail("the " + std::string(lacks) + " tree has no tensor '" + there + "'");
    }
    if (a.name != b.name) fail("expected a tensor '" + a.name + "', got '" + b.name + "'");
    const MatrixExtents m = a.extents(), n = b.extents();
    if (a.shape != b.shape || a.count() != b.count() || m.parts != n.parts || m.out != n.out || m.in != n.in) {
      fail("tensor '" + a.name + "': expected shape " + text(a.shape) + ", got " + text(b.shape));
    }
  });
  each([&](const auto& a, const auto& b) {
    if (!a.empty()) f(a, b);
  });
}

template <class TensorT>
auto const_access(const TensorT& tensor) {
  return TensorAccess<const typename TensorT::value_type, typename TensorT::layout_type>{tensor.storage.data(),
                                                                                         tensor.extents()};
}

}  // namespace detail

/// Overwrites the tensors of `to` with the nearest that they can hold to those of `from`, a tree of the same tensors in
/// other types or layouts: the parameters of a layer and of its quantised twin, or of whole models; and back again, into the
/// values of the codes. Equal types are copied.
/// Elements are read where they lie, on the device, one matrix after the other: there is no copy in between. Where a group
/// that shares a scale has a NaN or infinite weight, all of its values are NaN. Asynchronous on exec.
/// \throws Error if the trees have not the same tensors; then none has changed.
template <class ExecT, class FromT, class ToT>
void quantise(const ExecT& exec, const FromT& from, const ToT& to) {
  detail::for_each_pair(
      "moe::quantise",
      [&](const auto& a, const auto& b) { detail::convert(exec, detail::const_access(a), b.access(), a.count()); },
      from, to);
}

/// What a tensor lost.
struct QuantisationError {
  std::string name;
  std::int64_t weights = 0;    ///< logical elements
  double bits_per_weight = 0;  ///< of the new storage, with scales and padding
  double rms = 0;              ///< sqrt(mean w^2) of the first tree's
  double relative_rms = 0;     ///< sqrt(mean (w' - w)^2) / rms
  double relative_max = 0;     ///< max |w' - w| / rms
};

namespace detail {

/// The larger one; NaN if one of them is.
KOKKOS_INLINE_FUNCTION double larger(double a, double b) { return b > a || b != b ? b : a; }

/// Sums over the inputs of one output.
struct RowError {
  double squares = 0, errors = 0, largest = 0;
};

template <class FromAccessT, class ToAccessT, class SumsT>
struct SumRowErrors {
  FromAccessT from;
  ToAccessT to;
  SumsT sums;
  KOKKOS_FUNCTION void operator()(std::int64_t row) const {
    const MatrixExtents m = from.extents;
    const int out = int(row % m.out), part = int(row / m.out % m.parts), matrix = int(row / m.out / m.parts);
    RowError sum;
    for (int in = 0; in < m.in; ++in) {
      const double w = from(matrix, part, out, in), error = Kokkos::abs(double(to(matrix, part, out, in)) - w);
      sum.squares += w * w;
      sum.errors += error * error;
      sum.largest = larger(sum.largest, error);
    }
    sums(row) = sum;
  }
};

}  // namespace detail

/// For each tensor of two trees how far the second one's elements are from the first one's: what quantise() cost. NaN if one
/// is not finite. Waits for the device; the sums run in a fixed order.
/// \throws Error if the trees have not the same tensors.
template <class ExecT, class FromT, class ToT>
std::vector<QuantisationError> quantisation_error(const ExecT& exec, const FromT& from, const ToT& to) {
  const std::string& label = detail::kernel_label<"moe::quantisation_error">;
  std::vector<QuantisationError> errors;
  detail::for_each_pair(
      "moe::quantisation_error",
      [&](const auto& a, const auto& b) {
        using T = typename std::decay_t<decltype(b)>::value_type;
        using SumsT = Kokkos::View<detail::RowError*, typename ExecT::memory_space>;
        const std::int64_t rows = a.size() / a.extents().in;
        const SumsT sums(Kokkos::view_alloc(exec, Kokkos::WithoutInitializing, label), rows);
        const auto x = detail::const_access(a);
        const auto y = detail::const_access(b);
        detail::launch(exec, label, rows, detail::SumRowErrors<decltype(x), decltype(y), SumsT>{x, y, sums});
        const auto host = Kokkos::create_mirror_view(Kokkos::HostSpace(), sums);
        Kokkos::deep_copy(exec, host, sums);
        exec.fence("moe::quantisation_error");
        detail::RowError sum;
        for (std::int64_t row = 0; row < rows; ++row) {
          sum.squares += host(row).squares;
          sum.errors += host(row).errors;
          sum.largest = detail::larger(sum.largest, host(row).largest);
        }
        const double n = double(a.size()), rms = std::sqrt(sum.squares / n);
        const auto relative = [&](double error) { return error == 0 ? 0 : error / rms; };
        errors.push_back({a.name, a.size(), 8.0 * sizeof(T) * double(b.storage.size()) / n, rms,
                          relative(std::sqrt(sum.errors / n)), relative(sum.largest)});
      },
      from, to);
  return errors;
}

/// The mean over several tensors: of bits by their weights, of errors by their squares. The largest error is over the root
/// mean square of all.
inline QuantisationError overall(const std::vector<QuantisationError>& errors) {
  QuantisationError all{.name = "all"};
  double bits = 0, squares = 0, lost = 0, largest = 0;
  for (const QuantisationError& e : errors) {
    const double n = double(e.weights), error = e.relative_rms == 0 ? 0 : e.relative_rms * e.rms;
    all.weights += e.weights;
    bits += n * e.bits_per_weight;
    squares += n * e.rms * e.rms;
    lost += n * error * error;
    largest = detail::larger(largest, e.relative_max == 0 ? 0 : e.relative_max * e.rms);
  }
  if (all.weights == 0) return all;
  const double n = double(all.weights);
  all.bits_per_weight = bits / n;
  all.rms = std::sqrt(squares / n);
  if (lost != 0) all.relative_rms = std::sqrt(lost / squares);
  if (largest != 0) all.relative_max = largest / all.rms;
  return all;
}

}  // namespace moe
