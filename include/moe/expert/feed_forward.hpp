#pragma once

#include <moe/core/kernel.hpp>
#include <moe/core/parameters.hpp>
#include <moe/core/types.hpp>
#include <moe/expert/activation.hpp>
#include <moe/gemm/engine.hpp>
#include <moe/gemm/epilogue.hpp>

#include <algorithm>
#include <cstdint>
#include <string>

namespace moe {
namespace detail {

/// A batch of rows of `parts` pieces, each padded to a whole line.
template <class T>
struct Pieces {
  T* data = nullptr;
  std::int64_t part_stride = 0;
  int parts = 1;

  template <class ArenaT>
  static Pieces take(ArenaT& arena, std::int64_t rows, int parts, int columns) {
    const std::int64_t width = padded<T>(columns);
    return {arena.template take<T>(rows * parts * width), width, parts};
  }
  KOKKOS_FUNCTION std::int64_t stride() const { return parts * part_stride; }
  KOKKOS_FUNCTION T* at(int row, int part, int column) const {
    return data + row * stride() + part * part_stride + column;
  }
  RowSource<T> rows() const { return {.data = data, .stride = stride(), .part_stride = part_stride}; }
};

/// h = activation(z); z is kept for the backward pass where `z.data` is given.
template <class T, class ActivationT, bool KeepV>
struct Activate {
  static constexpr int parts = ActivationT::parts;
  static constexpr bool row_dot = false;
  Pieces<T> h;
  Pieces<T> z;

  template <class V>
  MOE_INLINE void operator()(int, int row, int column, const V* sum) const {
    if constexpr (KeepV) {
      for (int p = 0; p < parts; ++p) simd::store(z.at(row, p, column), sum[p]);
    }
    simd::store(h.at(row, 0, column), ActivationT::value(sum));
  }
};

/// From d_h, the gradient of the expert's result before the gate: h again for the weights' gradient, d_z with the gate,
/// and the row's dot product <d_h, h>, which is the gradient of the gate.
template <class T, class ActivationT>
struct ActivateBackward {
  static constexpr int parts = 1;
  static constexpr bool row_dot = true;
  Pieces<T> z;
  Pieces<T> h;
  Pieces<T> d_z;
  const T* gates;
  T* dots;
  std::int64_t dots_stride;

  template <class V>
  MOE_INLINE V operator()(int, int row, int column, const V* d_h) const {
    V before[ActivationT::parts], delta[ActivationT::parts];
    for (int p = 0; p < ActivationT::parts; ++p) before[p] = simd::load<V>(z.at(row, p, column));
    const V value = ActivationT::value(before);
    ActivationT::backward(before, d_h[0] * V(gates[row]), delta);
    for (int p = 0; p < ActivationT::parts; ++p) simd::store(d_z.at(row, p, column), delta[p]);
    simd::store(h.at(row, 0, column), value);
    return d_h[0] * value;
  }
  MOE_INLINE void partial(int row, int group, T sum) const { dots[row * dots_stride + group] = sum; }
};

/// d_gate[row] = the sum of the row's partial dot products, in order.
template <class T>
struct SumDots {
  Segments segments;
  const T* dots;
  std::int64_t dots_stride;
  T* d_gates;

  KOKKOS_FUNCTION void operator()(std::int64_t row) const {
    if (row >= segments.end(segments.count - 1)) return;
    T sum = 0;
    for (std::int64_t i = 0; i < dots_stride; ++i) sum += dots[row * dots_stride + i];
    d_gates[row] = sum;
  }
};

}  // namespace detail

/// The expert of nearly every published model, down(activation(in(x))): two grouped products, the activation in the
/// epilogue of the first. Tensors: `up` [E, F, D] or `gate_up` [E, 2, F, D] (gate first), and `down` [E, D, F], uniform
/// in +-1/sqrt(fan-in).
template <class ActivationT>
struct FeedForward {
  static constexpr int parts = ActivationT::parts;

  template <class TypesT>
  struct Parameters {
    using TensorT = Tensor<typename TypesT::storage, typename TypesT::memory, typename TypesT::engine::Layout>;
    TensorT in;    ///< [experts, parts, intermediate, hidden]
    TensorT down;  ///< [experts, hidden, intermediate]

    template <class F, class... TreesT>
    static void for_each(F&& f, TreesT&... trees) {
      f(trees.in...);
      f(trees.down...);
    }
  };
  /// The pre-activations; all that backward needs besides x.
  template <class TypesT>
  struct Tape {
    detail::Pieces<typename TypesT::storage> z;
  };
  template <class TypesT>
  struct Workspace {
    using T = typename TypesT::storage;
    detail::Pieces<T> h;
    detail::Pieces<T> d_z;
    T* dots = nullptr;
  };

  template <class TypesT, class MakerT>
  Parameters<TypesT> parameters(const MakerT& maker, const typename TypesT::shape& shape) const {
    using T = typename TypesT::storage;
    using Layout = typename TypesT::engine::Layout;
    const int e = shape.experts, d = shape.hidden, f = shape.intermediate;
    const std::vector<int> in_shape = parts == 1 ? std::vector{e, f, d} : std::vector{e, parts, f, d};
    return {maker.template make<T, Layout>({ActivationT::tensor_name, in_shape, e, {parts, f, d}}, Uniform::fan_in(d)),
            maker.template make<T, Layout>({"down", {e, d, f}, e, {1, d, f}}, Uniform::fan_in(f))};
  }
  template <class TypesT, class ArenaT>
  Tape<TypesT> tape(ArenaT& arena, const typename TypesT::shape& shape, int max_rows) const {
    return {detail::Pieces<typename TypesT::storage>::take(arena, max_rows, parts, shape.intermediate)};
  }
  template <class TypesT, class ArenaT>
  Workspace<TypesT> workspace(ArenaT& arena, const typename TypesT::shape& shape, int max_rows, Use use) const {
    using T = typename TypesT::storage;
    Workspace<TypesT> workspace;
    workspace.h = detail::Pieces<T>::take(arena, max_rows, 1, shape.intermediate);
    if (use == Use::training) {
      workspace.d_z = detail::Pieces<T>::take(arena, max_rows, parts, shape.intermediate);
      workspace.dots = arena.template take<T>(std::int64_t(max_rows) * dot_groups(shape));
    }
    return workspace;
  }
  template <class ShapeT>
  EngineLimits limits(const ShapeT& shape, int max_rows) const {
    return {.segments = shape.experts,
            .rows = max_rows,
            .columns = std::max<int>(parts * shape.intermediate, shape.hidden)};
  }

  /// rows[r] = down(activation(in(x of row r))), not yet gated.
  template <class TypesT, class SourceT, class RowsT, class TapeT>
  void forward(const Context<TypesT>& context, const Parameters<TypesT>& p, const Segments& segments, const SourceT& x,
               const RowsT& rows, const TapeT& tape, const Workspace<TypesT>& workspace) const {
    const std::string& in_label = detail::kernel_label<"moe::expert::in">;
    const std::string& down_label = detail::kernel_label<"moe::expert::down">;
    using T = typename TypesT::storage;
    constexpr bool keep = !std::is_same_v<TapeT, NoTape>;
    detail::Activate<T, ActivationT, keep> activate{workspace.h, {}};
    if constexpr (keep) activate.z = tape.z;
    context.engine.forward(context.exec, in_label, segments, x, p.in.weights(), activate);
    context.engine.forward(context.exec, down_label, segments, workspace.h.rows(), p.down.weights(),
                           detail::StoreRows<T>{{rows.data(), std::int64_t(rows.stride(0))}});
  }

  /// `dy` reads the gradient of the tokens' results, scaled by the rows' gates. Writes the gates' gradient of each row,
  /// the gradient of each row of x, and the gradients of the parameters.
  template <class TypesT, class SourceT, class DeltaT, class GatesT, class RowsT>
  void backward(const Context<TypesT>& context, const Parameters<TypesT>& p, const Tape<TypesT>& tape,
                const Segments& segments, const SourceT& x, const DeltaT& dy, const GatesT& d_gate_rows,
                const RowsT& d_rows, const Parameters<TypesT>& g, const Backward& options,
                const Workspace<TypesT>& workspace) const {
    const std::string& down_label = detail::kernel_label<"moe::expert::backward_down">;
    const std::string& dots_label = detail::kernel_label<"moe::expert::backward_gates">;
    const std::string& d_down_label = detail::kernel_label<"moe::expert::d_down">;
    const std::string& in_label = detail::kernel_label<"moe::expert::backward_in">;
    const std::string& d_in_label = detail::kernel_label<"moe::expert::d_in">;
    using T = typename TypesT::storage;
    const auto& engine = context.engine;
    const std::int64_t groups = dot_groups(context.shape);

    DeltaT ungated = dy;
    ungated.scale = nullptr;
    engine.backward_rows(
        context.exec, down_label, segments, ungated, p.down.weights(),
        detail::ActivateBackward<T, ActivationT>{tape.z, workspace.h, workspace.d_z, dy.scale, workspace.dots, groups});
    detail::launch(context.exec, dots_label, segments.max_rows,
                   detail::SumDots<T>{segments, workspace.dots, groups, d_gate_rows.data()});
    if (!g.down.empty()) {
      engine.backward_weights(context.exec, d_down_label, segments, dy, workspace.h.rows(), g.down.mutable_weights(),
                              options.accumulate);
    }
    engine.backward_rows(context.exec, in_label, segments, workspace.d_z.rows(), p.in.weights(),
                         detail::StoreRows<T>{{d_rows.data(), std::int64_t(d_rows.stride(0))}});
    if (!g.in.empty()) {
      engine.backward_weights(context.exec, d_in_label, segments, workspace.d_z.rows(), x, g.in.mutable_weights(),
                              options.accumulate);
    }
  }

 private:
  template <class ShapeT>
  static std::int64_t dot_groups(const ShapeT& shape) {
    return (shape.intermediate + dot_columns - 1) / dot_columns;
  }
};

/// down(activation(up(x)))
template <class ActivationT>
using Mlp = FeedForward<Plain<ActivationT>>;
/// down(activation(gate(x)) * up(x))
template <class ActivationT>
using GatedMlp = FeedForward<Gated<ActivationT>>;
/// The gated expert with silu. (Shazeer 2020; Mixtral, Qwen, DeepSeek.)
using SwiGlu = GatedMlp<Silu>;

}  // namespace moe
