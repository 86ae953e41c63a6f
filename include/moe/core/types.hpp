#pragma once

#include <moe/core/precision.hpp>
#include <moe/core/view.hpp>

#include <type_traits>

namespace moe {

/// What a block has fixed at compile time, handed to its policies as one template argument. Types and shape together
/// decide every View's type, so policies write `typename TypesT::compute` and never guess.
template <class ExecT, class ShapeT, class PrecisionT, class EngineT>
struct Types {
  using exec = ExecT;
  using memory = typename ExecT::memory_space;
  using shape = ShapeT;
  using precision = PrecisionT;
  using storage = typename PrecisionT::storage;  ///< activations, and parameters but for
  using weights = typename PrecisionT::weights;  ///< the experts' matrices
  using compute = typename PrecisionT::compute;  ///< gates, scores, losses, accumulators
  using engine = EngineT;                        ///< of the grouped products

  /// Whether rows are rounded to a byte where they are multiplied with the experts' matrices in forward.
  static constexpr bool quantises_rows = std::is_same_v<typename PrecisionT::rows, int8>;
  /// Whether the experts' matrices have gradients: quantised ones have not.
  static constexpr bool trains_weights = PrecisionT::trains_weights;

  /// What the gradients of the parameters are made by: the same with all storage in `compute`.
  using gradients = Types<ExecT, ShapeT, detail::GradientPrecision<PrecisionT>, EngineT>;
};

/// What every policy's kernels are launched with.
template <class TypesT>
struct Context {
  typename TypesT::exec exec;
  [[no_unique_address]] typename TypesT::shape shape;
  typename TypesT::engine engine;
  int num_tokens = 0;
};

/// The tape of a forward pass that will have no backward.
struct NoTape {};

/// A workspace or tape of a policy that needs none.
struct Nothing {};

/// What a workspace is for: one for inference leaves out the scratch of backward.
enum class Use { training, inference };

namespace detail {

/// The workspace of a part of a router: some parts ask what it is for, others need the same for both.
template <class TypesT, class PolicyT, class ArenaT>
auto workspace_of(const PolicyT& policy, ArenaT& arena, const typename TypesT::shape& shape, int max_tokens, Use use) {
  if constexpr (requires { policy.template workspace<TypesT>(arena, shape, max_tokens, use); }) {
    return policy.template workspace<TypesT>(arena, shape, max_tokens, use);
  } else {
    return policy.template workspace<TypesT>(arena, shape, max_tokens);
  }
}

}  // namespace detail

/// How a backward pass is run.
struct Backward {
  float loss_scale = 1;     ///< scales the balancers' gradients; dy comes scaled from the caller
  bool accumulate = false;  ///< add to the gradients instead of overwriting them
};

}  // namespace moe
