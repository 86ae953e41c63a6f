#pragma once

#include <moe/core/balancing.hpp>
#include <moe/core/kernel.hpp>

#include <cstdint>
#include <string>

namespace moe {
namespace detail {

template <class T, class LoadT>
struct MoveBias {
  T* bias;
  LoadT load;
  T rate;
  int num_experts;

  KOKKOS_FUNCTION void operator()(std::int64_t e) const {
    // mean load - load_e has the sign of sum - experts * load_e: integers, so no rounding decides a sign
    std::int64_t difference = -std::int64_t(num_experts) * load(e);
    for (int other = 0; other < num_experts; ++other) difference += load(other);
    if (difference != 0) bias[e] += difference > 0 ? rate : -rate;
  }
};

}  // namespace detail

/// DeepSeek's balancing without a loss: once a step b_e += rate * sign(mean load - load_e), where the load is that of
/// all batches since the last step. The bias enters the choice alone: the router needs a SelectionBias. (Wang et al.
/// 2024, "Auxiliary-loss-free load balancing strategy"; Megatron-LM.)
struct LossFreeBias {
  float rate = 0.001f;

  static constexpr bool needs_selection_bias = true;

  template <class TypesT, class ParametersT, class LoadT>
  void update(const Context<TypesT>& context, const ParametersT& router, const LoadT& load) const {
    const std::string& label = detail::kernel_label<"moe::loss_free_bias::update">;
    using T = typename TypesT::compute;
    const int experts = context.shape.experts;
    detail::launch(context.exec, label, experts,
                   detail::MoveBias<T, LoadT>{router.selection_bias.storage.data(), load, T(rate), experts});
  }
};

}  // namespace moe
