#pragma once

#include <moe/core/initial_values.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/precision.hpp>
#include <moe/core/random.hpp>
#include <moe/core/tensor.hpp>
#include <moe/core/types.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace moe {

/// A tensor that a policy asks for.
struct TensorRequest {
  const char* name;        ///< within the policy; the maker puts the path in front
  std::vector<int> shape;  ///< logical
  int count = 1;           ///< matrices
  MatrixExtents extents;   ///< of one of them
  TensorTraits traits = {};
};

namespace detail {

/// The initial value of an element by its position.
template <class T, class ValuesT>
struct InitialValue {
  Random random;
  ValuesT values;
  KOKKOS_FUNCTION T operator()(std::int64_t i) const { return values.template value<T>(random, i); }
};

template <class T, class LayoutT, class ValuesT>
struct Initialise {
  TensorAccess<T, LayoutT> access;
  ValuesT values;
  KOKKOS_FUNCTION void operator()(std::int64_t i) const { access[i] = T(values(i)); }
};

}  // namespace detail

/// Makes the tensors of a block: `maker.matrix(request, init)`. The path grows with `maker.in("router")`, so that names
/// come out as "0.router.weight".
template <class ExecT>
class ParameterMaker {
 public:
  using exec = ExecT;
  using memory = typename ExecT::memory_space;
  template <class TypesT>
  using types = TypesT;  ///< what a block's policies make their parameters by
  template <class StorageT, class ComputeT>
  using element = StorageT;

  ParameterMaker(ExecT exec, std::uint64_t seed, std::string path = {})
      : exec_(std::move(exec)), seed_(seed), path_(std::move(path)) {}

  ParameterMaker in(const std::string& name) const { return {exec_, seed_, path_ + name + "."}; }

  template <class T, class LayoutT, class InitT>
  Tensor<T, memory, LayoutT> make(const TensorRequest& request, InitT init) const {
    Tensor<T, memory, LayoutT> tensor(exec_, path_ + request.name, request.shape, request.count, request.extents,
                                      request.traits);
    const std::string& label = detail::kernel_label<"moe::initialise">;
    using DistributionT = decltype(detail::distribution(init, request.extents));
    using ValuesT = detail::InitialValue<compute_type<T>, DistributionT>;
    const ValuesT values{Random{seed_, stream_of(tensor.name)}, detail::distribution(init, request.extents)};
    if constexpr (is_quantised_v<T>) {
      using CodeT = detail::CodeGroups<T, LayoutT, ValuesT>;
      detail::launch(exec_, label, CodeT::items(request.count, request.extents), CodeT{tensor.access(), values});
    } else {
      detail::launch(exec_, label, tensor.size(), detail::Initialise<T, LayoutT, ValuesT>{tensor.access(), values});
    }
    return tensor;
  }

 private:
  ExecT exec_;
  std::uint64_t seed_;
  std::string path_;
};

/// Makes the gradients by the same list, in the type that is computed in: zeros for what is trainable, nothing for
/// buffers.
template <class ExecT>
class GradientMaker {
 public:
  using exec = ExecT;
  using memory = typename ExecT::memory_space;
  template <class TypesT>
  using types = typename TypesT::gradients;
  template <class StorageT, class ComputeT>
  using element = ComputeT;

  explicit GradientMaker(ExecT exec, std::string path = {}) : exec_(std::move(exec)), path_(std::move(path)) {}

  GradientMaker in(const std::string& name) const { return GradientMaker(exec_, path_ + name + "."); }

  template <class T, class LayoutT, class InitT>
  Tensor<T, memory, LayoutT> make(const TensorRequest& request, InitT) const {
    if (!request.traits.trainable) return {};
    return {exec_, path_ + request.name, request.shape, request.count, request.extents, request.traits};
  }

 private:
  ExecT exec_;
  std::string path_;
};

/// Parameters of a policy that has none.
struct NoParameters {
  template <class F, class... TreesT>
  static void for_each(F&&, TreesT&...) {}
};

/// A base for a router or an expert of one's own that has no tensors, keeps nothing and multiplies nothing: what is left
/// to write is what it does.
struct Stateless {
  template <class TypesT>
  using Parameters = NoParameters;
  template <class TypesT>
  using Tape = Nothing;
  template <class TypesT>
  using Workspace = Nothing;

  template <class TypesT, class MakerT, class ShapeT>
  NoParameters parameters(const MakerT&, const ShapeT&) const {
    return {};
  }
  template <class TypesT, class ArenaT, class ShapeT>
  Nothing tape(ArenaT&, const ShapeT&, int) const {
    return {};
  }
  template <class TypesT, class ArenaT, class ShapeT, class... UseT>
  Nothing workspace(ArenaT&, const ShapeT&, int, UseT...) const {
    return {};
  }
  template <class ShapeT>
  EngineLimits limits(const ShapeT&, int) const {
    return {};
  }
};

/// Calls `f(tensor of the first tree, tensor of the second, ...)` for each tensor that all trees hold, in a fixed
/// order: parameters with gradients for an optimiser, two sets of parameters for a comparison, one alone for a file.
template <class F, class TreeT, class... TreesT>
void for_each_tensor(F&& f, TreeT&& tree, TreesT&&... trees) {
  std::decay_t<TreeT>::for_each(
      [&](auto&... tensors) {
        if ((!tensors.empty() && ...)) f(tensors...);
      },
      tree, trees...);
}

}  // namespace moe
