#pragma once

#include <moe/core/balancing.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/reduce.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace moe {
namespace detail {

/// log sum_e exp(z_e), the maximum subtracted first.
template <class T>
KOKKOS_FUNCTION T log_sum_exp(const T* z, int n) {
  T largest = z[0];
  for (int i = 1; i < n; ++i) largest = Kokkos::fmax(largest, z[i]);
  T sum = 0;
  for (int i = 0; i < n; ++i) sum += Kokkos::exp(z[i] - largest);
  return largest + Kokkos::log(sum);
}

template <class MatrixT>
struct SquaredLogSumExp {
  using T = typename MatrixT::non_const_value_type;
  MatrixT logits;
  int num_experts;
  KOKKOS_FUNCTION T operator()(std::int64_t t, std::int64_t) const {
    const T l = log_sum_exp(&logits(t, 0), num_experts);
    return l * l;
  }
};

template <class T>
struct StoreScaled {
  T* out;
  T scale;
  KOKKOS_FUNCTION void operator()(std::int64_t i, T sum) const { out[i] = scale * sum; }
};

/// d_z_e += factor * l * softmax(z)_e
template <class MatrixT>
struct ZLossBackward {
  using T = typename MatrixT::non_const_value_type;
  MatrixT logits;
  MatrixT d_logits;
  T factor;
  int num_experts;

  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    const T l = log_sum_exp(&logits(t, 0), num_experts);
    for (int e = 0; e < num_experts; ++e) d_logits(t, e) += factor * l * Kokkos::exp(logits(t, e) - l);
  }
};

}  // namespace detail

/// weight * mean_t (log sum_e exp z_te)^2: keeps the logits small. (ST-MoE, Zoph et al. 2022.)
struct ZLoss {
  float weight = 0.001f;

  static constexpr int num_losses = 1;
  static std::vector<std::string> loss_names() { return {"z"}; }

  template <class TypesT>
  using Workspace = detail::ColumnSum<typename TypesT::compute>;
  template <class TypesT, class ArenaT>
  Workspace<TypesT> workspace(ArenaT& arena, const typename TypesT::shape&, int max_tokens) const {
    return {arena, max_tokens, 1};
  }

  template <class TypesT>
  void loss(const Context<TypesT>& context, const Routing<TypesT>& routing, const Plan<TypesT>&,
            typename TypesT::compute* losses, const Workspace<TypesT>& column_sum) const {
    const std::string& label = detail::kernel_label<"moe::z_loss::loss">;
    using T = typename TypesT::compute;
    column_sum(context.exec, label, context.num_tokens, 1,
               detail::SquaredLogSumExp<decltype(routing.logits)>{routing.logits, context.shape.experts},
               detail::StoreScaled<T>{losses, mean_factor<T>(context.num_tokens)});
  }

  template <class TypesT, class MatrixT>
  void backward(const Context<TypesT>& context, const Routing<TypesT>& routing, const Plan<TypesT>&, const MatrixT&,
                const MatrixT& d_logits, typename TypesT::compute scale, const Workspace<TypesT>&) const {
    const std::string& label = detail::kernel_label<"moe::z_loss::backward">;
    using T = typename TypesT::compute;
    detail::launch(
        context.exec, label, context.num_tokens,
        detail::ZLossBackward<MatrixT>{routing.logits, d_logits, 2 * scale * mean_factor<T>(context.num_tokens),
                                       context.shape.experts});
  }

 private:
  template <class T>
  T mean_factor(int num_tokens) const {
    return num_tokens == 0 ? T(0) : T(weight) / T(num_tokens);
  }
};

}  // namespace moe
