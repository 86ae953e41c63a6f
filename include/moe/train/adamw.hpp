#pragma once

#include <moe/core/error.hpp>
#include <moe/core/parameters.hpp>
#include <moe/train/elements.hpp>
#include <moe/train/state_tensor.hpp>

#include <Kokkos_Core.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

namespace moe {
namespace detail {

template <class T>
struct AdamWElements {
  T* parameter;
  const T* gradient;
  T* first;
  T* second;
  T keep;       ///< 1 - learning rate * weight decay
  T rate;       ///< learning rate / (1 - beta1^t)
  T whiten;     ///< 1 / sqrt(1 - beta2^t)
  T one_beta1;  ///< 1 - beta1
  T beta2;
  T one_beta2;
  T epsilon;

  template <class LeafT, class V>
  MOE_INLINE void run(std::int64_t begin, std::int64_t end) const {
    // Made once: within the loop, g++ -O3 would build them lane by lane again and again.
    const V decay = keep, step = rate, white = whiten, mix1 = one_beta1, keep2 = beta2, mix2 = one_beta2,
            small = epsilon;
    for (std::int64_t i = begin; i < end; i += simd::lanes<V>) {
      const std::int64_t count = end - i;
      const V g = load_first<V>(gradient + i, count), p = load_first<V>(parameter + i, count);
      V m = load_first<V>(first + i, count), v = load_first<V>(second + i, count);
      m = m + mix1 * (g - m);
      v = keep2 * v + mix2 * g * g;
      V root = v;
      SquareRoot<LeafT>::apply(root);
      store_first(first + i, m, count);
      store_first(second + i, v, count);
      store_first(parameter + i, decay * p - step * (m / (root * white + small)), count);
    }
  }
};

/// What a step has made of the float masters of two-byte parameters, and where they come from at first.
template <class ToT, class FromT>
struct ConvertElements {
  ToT* to;
  const FromT* from;
  KOKKOS_FUNCTION void operator()(std::int64_t i) const { to[i] = ToT(from[i]); }
};

}  // namespace detail

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019), as torch.optim.AdamW computes it: at step t
///
///     m = beta1 m + (1 - beta1) g                 v = beta2 v + (1 - beta2) g^2
///     p = (1 - rate decay) p - rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)
///
/// Two-byte parameters have masters in float, which the steps add up in and which are rounded after each: make the state
/// after the parameters have their values. The decay is that of tensors with TensorTraits::decay: not of norms and biases.
///
///     moe::AdamW optimiser{.learning_rate = 3e-3};
///     auto state = optimiser.state(exec, parameters, gradients);       // once
///     optimiser.step(exec, parameters, gradients, state, schedule(n));
///
/// Several blocks are one model: moe::trees(embedding_parameters, head_parameters), and so their gradients.
struct AdamW {
  double learning_rate = 3e-4;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;

  /// The moments of one tensor, and its master if it has two-byte elements.
  template <class T, class MemoryT>
  struct Moments {
    StateTensor<T, MemoryT> first;
    StateTensor<T, MemoryT> second;
    StateTensor<T, MemoryT> master;
  };

  /// The moments of the trainable tensors, float for float and double for double, and the number of steps made. A tree of
  /// tensors: moe::save and moe::load take it beside the parameters.
  template <class ExecT>
  struct State {
    using memory = typename ExecT::memory_space;

    StateCounter steps{"adamw.steps"};
    std::tuple<std::vector<Moments<float, memory>>, std::vector<Moments<double, memory>>> moments;

    template <class T>
    std::vector<Moments<T, memory>>& of() {
      return std::get<std::vector<Moments<T, memory>>>(moments);
    }

    template <class F, class StateT>
    static void for_each(F&& f, StateT& state) {
      f(state.steps);
      std::apply([&](auto&... lists) { (for_each_moment(f, lists), ...); }, state.moments);
    }

   private:
    template <class F, class ListT>
    static void for_each_moment(F& f, ListT& list) {
      for (auto& moments : list) {
        f(moments.first);
        f(moments.second);
        if (!moments.master.empty()) f(moments.master);
      }
    }
  };

  /// Zeros for each tensor that has a gradient; a frozen one costs nothing.
  template <class ExecT, class ParametersT, class GradientsT>
  State<ExecT> state(const ExecT& exec, const ParametersT& parameters, const GradientsT& gradients) const {
    State<ExecT> made;
    for_each_trained(
        [&](const auto& p, const auto&) {
          using T = Compute<decltype(p)>;
          auto& moments = made.template of<T>().emplace_back();
          moments.first = {exec, "adamw.first_moment." + p.name, p};
          moments.second = {exec, "adamw.second_moment." + p.name, p};
          if constexpr (has_master<decltype(p)>) {
            moments.master = {exec, "adamw.master." + p.name, p};
            convert(exec, p.storage, moments.master.storage);
          }
        },
        parameters, gradients);
    return made;
  }

  /// One step with `learning_rate`.
  template <class ExecT, class ParametersT, class GradientsT>
  void step(const ExecT& exec, const ParametersT& parameters, const GradientsT& gradients, State<ExecT>& state) const {
    step(exec, parameters, gradients, state, learning_rate);
  }

  /// One step with the learning rate that a schedule gives. Asynchronous, one kernel a tensor, no allocation.
  /// \throws Error if the state was made for other tensors; then no parameter has changed.
  template <class ExecT, class ParametersT, class GradientsT>
  void step(const ExecT& exec, const ParametersT& parameters, const GradientsT& gradients, State<ExecT>& state,
            double rate) const {
    check(parameters, gradients, state);
    const double t = double(++state.steps.value);
    const double correction1 = 1 - std::pow(beta1, t), correction2 = 1 - std::pow(beta2, t);
    Next next;
    for_each_trained(
        [&](const auto& p, const auto& g) {
          using T = Compute<decltype(p)>;
          const std::string& label = detail::kernel_label<"moe::adamw">;
          const auto& m = state.template of<T>()[next.template of<T>()++];
          const double decay = p.traits.decay ? weight_decay : 0;
          T* parameter;
          if constexpr (has_master<decltype(p)>) {
            parameter = m.master.storage.data();
          } else {
            parameter = p.storage.data();
          }
          detail::launch_elements<T>(
              exec, label, std::int64_t(p.storage.extent(0)),
              detail::AdamWElements<T>{parameter, g.storage.data(), m.first.storage.data(), m.second.storage.data(),
                                       T(1 - rate * decay), T(rate / correction1), T(1 / std::sqrt(correction2)),
                                       T(1 - beta1), T(beta2), T(1 - beta2), T(epsilon)});
          if constexpr (has_master<decltype(p)>) convert(exec, m.master.storage, p.storage);
        },
        parameters, gradients);
  }

 private:
  template <class TensorT>
  using Compute = std::conditional_t<std::is_same_v<typename std::decay_t<TensorT>::value_type, double>, double, float>;

  template <class TensorT>
  static constexpr bool has_master = is_float16_v<typename std::decay_t<TensorT>::value_type>;

  /// f(parameter, gradient) for each tensor that has a gradient, which quantised ones never have.
  template <class F, class ParametersT, class GradientsT>
  static void for_each_trained(const F& f, const ParametersT& parameters, const GradientsT& gradients) {
    for_each_tensor(
        [&](const auto& p, const auto& g) {
          if constexpr (!is_quantised_v<typename std::decay_t<decltype(p)>::value_type>) f(p, g);
        },
        parameters, gradients);
  }

  template <class ExecT, class FromT, class ToT>
  static void convert(const ExecT& exec, const FromT& from, const ToT& to) {
    const std::string& label = detail::kernel_label<"moe::adamw::convert">;
    using From = typename FromT::non_const_value_type;
    using To = typename ToT::non_const_value_type;
    detail::launch(exec, label, std::int64_t(to.extent(0)), detail::ConvertElements<To, From>{to.data(), from.data()});
  }

  /// Which moments come next, for each of their types.
  struct Next {
    std::size_t floats = 0;
    std::size_t doubles = 0;
    template <class T>
    std::size_t& of() {
      if constexpr (std::is_same_v<T, double>) {
        return doubles;
      } else {
        return floats;
      }
    }
  };

  template <class ExecT, class ParametersT, class GradientsT>
  static void check(const ParametersT& parameters, const GradientsT& gradients, State<ExecT>& state) {
    Next next;
    for_each_trained(
        [&](const auto& p, const auto& g) {
          const auto& list = state.template of<Compute<decltype(p)>>();
          std::size_t& i = next.template of<Compute<decltype(p)>>();
          detail::expect(i < list.size(), "moe::AdamW::step", "the state was made for fewer tensors");
          expect_elements(p, "elements of the gradient", g.storage.extent(0));
          expect_elements(p, "elements of the moments", list[i].first.storage.extent(0));
          ++i;
        },
        parameters, gradients);
    detail::expect(
        next.floats == state.template of<float>().size() && next.doubles == state.template of<double>().size(),
        "moe::AdamW::step", "the state was made for more tensors");
  }

  template <class TensorT>
  static void expect_elements(const TensorT& p, const char* what, std::size_t got) {
    if (got == p.storage.extent(0)) return;  // the name below is built only to be thrown
    detail::expect_extent(("moe::AdamW::step, " + p.name).c_str(), what, p.storage.extent(0), got);
  }
};

}  // namespace moe
