#pragma once

#include <moe/core/kernel.hpp>
#include <moe/core/parameters.hpp>
#include <moe/core/quantised_rows.hpp>
#include <moe/core/types.hpp>
#include <moe/expert/activation.hpp>
#include <moe/expert/clamped_gated.hpp>
#include <moe/expert/gated.hpp>
#include <moe/expert/low_rank.hpp>
#include <moe/expert/pieces.hpp>
#include <moe/expert/row_blocks.hpp>
#include <moe/gemm/engine.hpp>
#include <moe/gemm/linear.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace moe {
namespace detail {

/// What an epilogue adds to a product's sums: one number for each expert, part and output. Stored beside the matrices, as
/// matrices of one column; a vector of the engine's never goes past a part's end.
template <class T, class LayoutT>
struct AddBias {
  Weights<const T> biases;

  template <class V>
  MOE_INLINE V operator()(const V& sum, int expert, int part, int column) const {
    return sum + simd::load<V>(biases(expert) + LayoutT::template offset<T>(biases.extents, part, column, 0));
  }
};
struct AddNothing {
  template <class V>
  MOE_INLINE V operator()(const V& sum, int, int, int) const {
    return sum;
  }
};

/// h = activation(z), with an addition that is found in z where AddV; z is kept for the backward pass where KeepV.
template <class T, class ActivationT, class BiasT, bool KeepV, bool AddV>
struct Activate {
  static constexpr int parts = ActivationT::parts;
  static constexpr bool row_dot = false;
  Pieces<T> h;
  Pieces<T> z;
  [[no_unique_address]] ActivationT activation;
  [[no_unique_address]] BiasT bias;

  template <class V>
  MOE_INLINE void operator()(int expert, int row, int column, const V* sum) const {
    V total[parts];
    for (int p = 0; p < parts; ++p) {
      total[p] = bias(sum[p], expert, p, column);
      if constexpr (AddV) total[p] += simd::load<V>(z.at(row, p, column));
    }
    if constexpr (KeepV) {
      for (int p = 0; p < parts; ++p) simd::store(z.at(row, p, column), total[p]);
    }
    simd::store(h.at(row, 0, column), activation.value(total));
  }
};

/// rows = sums, with the biases, and with what is there already where AddV
template <class T, class BiasT, bool AddV>
struct StoreResults {
  static constexpr int parts = 1;
  static constexpr bool row_dot = false;
  Pieces<T> rows;
  [[no_unique_address]] BiasT bias;

  template <class V>
  MOE_INLINE void operator()(int expert, int row, int column, const V* sum) const {
    T* const to = rows.at(row, 0, column);
    V total = bias(sum[0], expert, 0, column);
    if constexpr (AddV) total += simd::load<V>(to);
    simd::store(to, total);
  }
};

/// From d_h, the gradient of the expert's result before the gate, with an addition that is found in h where AddV: h again
/// for the weights' gradient, d_z with the gate, and the row's dot product <d_h, h>, which is the gradient of the gate.
template <class T, class ComputeT, class ActivationT, bool AddV>
struct ActivateBackward {
  static constexpr int parts = 1;
  static constexpr bool row_dot = true;
  Pieces<T> z;
  Pieces<T> h;
  Pieces<T> d_z;
  const ComputeT* gates;  ///< null: all of them 1
  PartialDots<ComputeT> dots;
  [[no_unique_address]] ActivationT activation;

  template <class V>
  MOE_INLINE V operator()(int, int row, int column, const V* sum) const {
    V before[ActivationT::parts], delta[ActivationT::parts];
    for (int p = 0; p < ActivationT::parts; ++p) before[p] = simd::load<V>(z.at(row, p, column));
    T* const h_row = h.at(row, 0, column);
    V d_h = sum[0];
    if constexpr (AddV) d_h += simd::load<V>(h_row);
    const V value = activation.value(before);
    activation.backward(before, d_h * V(gates != nullptr ? gates[row] : ComputeT(1)), delta);
    for (int p = 0; p < ActivationT::parts; ++p) simd::store(d_z.at(row, p, column), delta[p]);
    simd::store(h_row, value);
    return d_h * value;
  }
  MOE_INLINE void partial(int row, int group, ComputeT sum) const { dots(row, group) = sum; }
};

/// Rows as the matrices shall see them.
template <class TypesT, class T, class ScaleT>
auto product_rows(const RowSource<T, ScaleT>& rows) {
  if constexpr (TypesT::quantises_rows) {
    return QuantisedRows<T, ScaleT>{rows};
  } else {
    return rows;
  }
}

/// The parts of what an activation needs, 1 where it does not say.
template <class ActivationT>
constexpr int activation_parts() {
  if constexpr (requires { ActivationT::parts; }) return ActivationT::parts;
  return 1;
}
template <class ActivationT>
constexpr const char* activation_name() {
  if constexpr (requires { ActivationT::tensor_name; }) return ActivationT::tensor_name;
  return "";
}

template <class T>
struct SetOne {
  T* one;
  KOKKOS_FUNCTION void operator()(std::int64_t) const { *one = T(1); }
};

}  // namespace detail

/// The expert of nearly every published model, down(activation(in(x))): two grouped products, the activation in the
/// epilogue of the first. Tensors: `up` [E, F, D] or `gate_up` [E, 2, F, D] (gate first), and `down` [E, D, F]; with
/// biases also `up_bias` [E, F] or `gate_up_bias` [E, 2, F], and `down_bias` [E, D], zeros.
///
/// \tparam ActivationT  from the pre-activations of all parts to h: Plain<Relu>, Gated<Silu>, ClampedGated
/// \tparam BiasT        WithBias: both products have one
/// \tparam InitT        initial values of the matrices: FanInUniform, SwitchNormal, Normal, ...
template <class ActivationT, class BiasT = NoBias, class InitT = FanInUniform>
struct FeedForward {
  static_assert(
      requires {
        ActivationT::parts;
        ActivationT::tensor_name;
      },
      "moe: FeedForward wants to know what the activation is applied to: moe::Plain<moe::Relu> where it stands alone, "
      "moe::Gated<moe::Silu> where it gates a second product; moe::Mlp<> and moe::SwiGlu name them");
  static constexpr int parts = detail::activation_parts<ActivationT>();
  static constexpr const char* in_name = detail::activation_name<ActivationT>();
  static constexpr bool takes_additions = true;  ///< has forward_with, backward_with: see expert/low_rank.hpp
  static constexpr bool has_bias = std::is_same_v<BiasT, WithBias>;
  [[no_unique_address]] ActivationT activation{};  ///< its numbers, if it has any
  [[no_unique_address]] InitT init{};              ///< its numbers, if it has any

  template <class TypesT>
  struct Parameters {
    using MatrixT = Tensor<typename TypesT::weights, typename TypesT::memory, typename TypesT::engine::Layout>;
    using BiasesT = Tensor<typename TypesT::storage, typename TypesT::memory, typename TypesT::engine::Layout>;
    MatrixT in;         ///< [experts, parts, intermediate, hidden]
    BiasesT in_bias;    ///< [experts, parts, intermediate], if there are biases
    MatrixT down;       ///< [experts, hidden, intermediate]
    BiasesT down_bias;  ///< [experts, hidden], if there are biases

    template <class F, class... TreesT>
    static void for_each(F&& f, TreesT&... trees) {
      f(trees.in...);
      if constexpr (has_bias) f(trees.in_bias...);
      f(trees.down...);
      if constexpr (has_bias) f(trees.down_bias...);
    }
  };
  /// The pre-activations; all that backward needs besides x.
  template <class TypesT>
  struct Tape {
    detail::Pieces<typename TypesT::storage> z;
  };
  template <class TypesT>
  struct Workspace {
    detail::Pieces<typename TypesT::storage> h;
    detail::Pieces<typename TypesT::storage> d_z;
    detail::PartialDots<typename TypesT::compute> dots;
    typename TypesT::storage* one = nullptr;  ///< the input whose weights are the biases
  };

  template <class TypesT, class MakerT>
  Parameters<TypesT> parameters(const MakerT& maker, const typename TypesT::shape& shape) const {
    const int e = shape.experts, d = shape.hidden, f = shape.intermediate;
    const auto make = [&]<class T>(Tensor<T, typename TypesT::memory, typename TypesT::engine::Layout>& tensor,
                                   const std::string& name, std::vector<int> logical, MatrixExtents extents,
                                   const auto& values, TensorTraits traits) {
      logical.insert(logical.begin(), e);
      tensor =
          maker.template make<T, typename TypesT::engine::Layout>({name.c_str(), logical, e, extents, traits}, values);
    };
    const std::string in = in_name;
    const TensorTraits matrix{.trainable = TypesT::trains_weights};
    Parameters<TypesT> p;
    make(p.in, in, with_parts({f, d}), {parts, f, d}, init, matrix);
    make(p.down, "down", {d, f}, {1, d, f}, detail::output_distribution(init, {1, d, f}), matrix);
    if constexpr (has_bias) {
      make(p.in_bias, in + "_bias", with_parts({f}), {parts, f, 1}, Zeros{}, {.decay = false});
      make(p.down_bias, "down_bias", {d}, {1, d, 1}, Zeros{}, {.decay = false});
    }
    return p;
  }
  template <class TypesT, class ArenaT>
  Tape<TypesT> tape(ArenaT& arena, const typename TypesT::shape& shape, int max_rows) const {
    return {detail::Pieces<typename TypesT::storage>::take(arena, max_rows, parts, shape.intermediate)};
  }
  template <class TypesT, class ArenaT>
  Workspace<TypesT> workspace(ArenaT& arena, const typename TypesT::shape& shape, int max_rows, Use use) const {
    using PiecesT = detail::Pieces<typename TypesT::storage>;
    using DotsT = detail::PartialDots<typename TypesT::compute>;
    Workspace<TypesT> workspace;
    workspace.h = PiecesT::take(arena, max_rows, 1, shape.intermediate);
    if (use == Use::training) {
      workspace.d_z = PiecesT::take(arena, max_rows, parts, shape.intermediate);
      workspace.dots = DotsT::take(
          arena, max_rows, DotsT::groups_of(shape.intermediate) + (has_bias ? DotsT::groups_of(shape.hidden) : 0));
      if constexpr (has_bias) workspace.one = arena.template take<typename TypesT::storage>(1);
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
    forward_with(context, p, segments, x, rows, tape, workspace, detail::NoAddition{}, detail::NoAddition{});
  }

  /// `dy` reads the gradient of the tokens' results, scaled by the rows' gates. Writes the gates' gradient of each row,
  /// <d_h, h> + <dy, bias of down>, the gradient of each row of x, and the gradients of the parameters.
  template <class TypesT, class SourceT, class DeltaT, class GatesT, class RowsT, class GradientsT>
  void backward(const Context<TypesT>& context, const Parameters<TypesT>& p, const Tape<TypesT>& tape,
                const Segments& segments, const SourceT& x, const DeltaT& dy, const GatesT& d_gate_rows,
                const RowsT& d_rows, const GradientsT& g, const Backward& options,
                const Workspace<TypesT>& workspace) const {
    backward_with(context, p, tape, segments, x, dy, d_gate_rows, d_rows, g, options, workspace, detail::NoAddition{},
                  detail::NoAddition{});
  }

  /// The same with an addition to each of the two matrices.
  template <class TypesT, class SourceT, class RowsT, class TapeT, class InT, class DownT>
  void forward_with(const Context<TypesT>& context, const Parameters<TypesT>& p, const Segments& segments,
                    const SourceT& x, const RowsT& rows, const TapeT& tape, const Workspace<TypesT>& workspace,
                    const InT& in_addition, const DownT& down_addition) const {
    const std::string& in_label = detail::kernel_label<"moe::expert::in">;
    const std::string& down_label = detail::kernel_label<"moe::expert::down">;
    using T = typename TypesT::storage;
    using AddT = AddBiasOf<TypesT>;
    constexpr bool keep = !std::is_same_v<TapeT, NoTape>;
    const auto h = workspace.h.template rows<typename TypesT::compute>();
    const auto results = detail::Pieces<T>::of(rows);

    detail::Activate<T, ActivationT, AddT, keep, InT::exists> activate{
        workspace.h, {}, activation, add<TypesT>(p.in_bias)};
    if constexpr (keep) {
      activate.z = tape.z;
    } else if constexpr (InT::exists) {
      activate.z = in_addition.z;
    }
    in_addition.forward(context, segments, x, activate.z);
    context.engine.forward(context.exec, in_label, segments, detail::product_rows<TypesT>(x), p.in.weights(), activate);
    down_addition.forward(context, segments, h, results);
    context.engine.forward(context.exec, down_label, segments, detail::product_rows<TypesT>(h), p.down.weights(),
                           detail::StoreResults<T, AddT, DownT::exists>{results, add<TypesT>(p.down_bias)});
  }
  template <class TypesT, class SourceT, class DeltaT, class GatesT, class RowsT, class GradientsT, class InT,
            class DownT>
  void backward_with(const Context<TypesT>& context, const Parameters<TypesT>& p, const Tape<TypesT>& tape,
                     const Segments& segments, const SourceT& x, const DeltaT& dy, const GatesT& d_gate_rows,
                     const RowsT& d_rows, const GradientsT& g, const Backward& options,
                     const Workspace<TypesT>& workspace, const InT& in_addition, const DownT& down_addition) const {
    const std::string& down_label = detail::kernel_label<"moe::expert::backward_down">;
    const std::string& dots_label = detail::kernel_label<"moe::expert::backward_gates">;
    const std::string& d_down_label = detail::kernel_label<"moe::expert::d_down">;
    const std::string& in_label = detail::kernel_label<"moe::expert::backward_in">;
    const std::string& d_in_label = detail::kernel_label<"moe::expert::d_in">;
    using T = typename TypesT::storage;
    using C = typename TypesT::compute;
    const auto h = workspace.h.template rows<C>(), d_z = workspace.d_z.template rows<C>();
    const auto d_x = detail::Pieces<T>::of(d_rows);
    const auto weights = [&](const std::string& label, const auto& delta, const auto& source, const auto& gradient) {
      if (gradient.empty()) return;
      context.engine.backward_weights(context.exec, label, segments, delta, source, gradient.mutable_weights(),
                                      options.accumulate);
    };

    DeltaT ungated = dy;
    ungated.scale = nullptr;
    down_addition.backward_rows(context, segments, ungated, workspace.h);
    context.engine.backward_rows(context.exec, down_label, segments, ungated, p.down.weights(),
                                 detail::ActivateBackward<T, C, ActivationT, DownT::exists>{
                                     tape.z, workspace.h, workspace.d_z, dy.scale, workspace.dots, activation});
    if constexpr (has_bias) add_bias_dots(context, p, segments, ungated, workspace.dots);
    detail::visit_row_blocks(context.exec, dots_label, segments, 1, 1,
                             detail::SumDots<C>{workspace.dots, d_gate_rows.data()});
    weights(d_down_label, dy, h, g.down);
    down_addition.backward_weights(context, segments, dy, h, dy.scale, options.accumulate);

    in_addition.backward_rows(context, segments, d_z, d_x);
    context.engine.backward_rows(context.exec, in_label, segments, d_z, p.in.weights(),
                                 detail::StoreResults<T, detail::AddNothing, InT::exists>{d_x, {}});
    weights(d_in_label, d_z, x, g.in);
    in_addition.backward_weights(context, segments, d_z, x, nullptr, options.accumulate);
    if constexpr (has_bias) {
      // A bias is the weight of an input that is always one.
      const std::string& one_label = detail::kernel_label<"moe::expert::one">;
      const std::string& bias_label = detail::kernel_label<"moe::expert::d_bias">;
      if (g.in_bias.empty() && g.down_bias.empty()) return;
      detail::launch(context.exec, one_label, 1, detail::SetOne<T>{workspace.one});
      const RowSource<T, C> ones{.data = workspace.one};
      weights(bias_label, dy, ones, g.down_bias);
      weights(bias_label, d_z, ones, g.in_bias);
    }
  }

 private:
  template <class TypesT>
  using AddBiasOf =
      std::conditional_t<has_bias, detail::AddBias<typename TypesT::storage, typename TypesT::engine::Layout>,
                         detail::AddNothing>;
  template <class TypesT, class TensorT>
  static AddBiasOf<TypesT> add(const TensorT& bias) {
    if constexpr (has_bias) {
      return {bias.weights()};
    } else {
      return {};
    }
  }

  /// The logical shape of one expert's tensor: [parts, ...], without the extent if it is one.
  static std::vector<int> with_parts(std::vector<int> shape) {
    if constexpr (parts > 1) shape.insert(shape.begin(), parts);
    return shape;
  }

  /// The share of down's biases in <dy, y>, behind the groups of <d_h, h>.
  template <class TypesT, class DeltaT>
  static void add_bias_dots(const Context<TypesT>& context, const Parameters<TypesT>& p, const Segments& segments,
                            const DeltaT& dy, const detail::PartialDots<typename TypesT::compute>& dots) {
    const std::string& label = detail::kernel_label<"moe::expert::bias_dots">;
    using C = typename TypesT::compute;
    using RowsT = detail::SourceRows<DeltaT>;
    using BiasesT = detail::ExpertVectors<typename TypesT::storage, typename TypesT::engine::Layout>;
    detail::visit_row_blocks(
        context.exec, label, segments, context.shape.hidden, dot_columns,
        detail::DotRows<C, RowsT, BiasesT>{
            {dy}, {segments, p.down_bias.weights()}, dots, dots.groups_of(context.shape.intermediate)});
  }
};

/// down(activation(up(x)))
template <class ActivationT, class BiasT = NoBias, class InitT = FanInUniform>
using Mlp = FeedForward<Plain<ActivationT>, BiasT, InitT>;
/// down(activation(gate(x)) * up(x))
template <class ActivationT, class BiasT = NoBias, class InitT = FanInUniform>
using GatedMlp = FeedForward<Gated<ActivationT>, BiasT, InitT>;

/// The gated expert with silu. (Shazeer 2020; Mixtral, Qwen, DeepSeek.)
using SwiGlu = GatedMlp<Silu>;
/// The gated expert with gelu by erf. (Shazeer 2020; with tanh, as in Gemma and Grok, it is GatedMlp<GeluTanh>.)
using GeGlu = GatedMlp<Gelu>;
/// The gated expert with relu. (Shazeer 2020.)
using ReGlu = GatedMlp<Relu>;
/// The expert of GPT-OSS: clamped gates, and biases. Its numbers: ClampedSwiGlu{.activation = {.limit = 7}}.
using ClampedSwiGlu = FeedForward<ClampedGated, WithBias>;

}  // namespace moe
