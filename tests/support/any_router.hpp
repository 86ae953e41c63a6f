#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <moe/core/concepts.hpp>
#include <moe/core/parameters.hpp>
#include <moe/core/precision.hpp>
#include <moe/core/routing.hpp>
#include <moe/core/shape.hpp>
#include <moe/core/types.hpp>
#include <moe/gemm/portable.hpp>
#include <moe/layer/block.hpp>
#include <string>
#include <support/compare.hpp>
#include <support/parameters.hpp>
#include <support/views.hpp>
#include <utility>
#include <vector>

/// \file
/// A router behind functions on host vectors, whatever its type: what looks at many of them is compiled once.
namespace test {

/// A projection that takes x for the logits, so that a test gives them: hidden = experts.
struct GivenLogits : moe::Stateless {
  template <class RoutingT, class XT>
  struct Copy {
    RoutingT routing;
    XT x;
    KOKKOS_FUNCTION void operator()(std::int64_t t) const {
      for (int e = 0; e < int(x.extent(1)); ++e) routing.logits(t, e) = x(t, e);
    }
  };
  template <class MatrixT, class DxT>
  struct Add {
    MatrixT d_logits;
    DxT dx;
    KOKKOS_FUNCTION void operator()(std::int64_t t) const {
      for (int e = 0; e < int(dx.extent(1)); ++e) dx(t, e) += d_logits(t, e);
    }
  };

  template <class TypesT, class InputsT, class TapeT>
  void forward(const moe::Context<TypesT>& context, const moe::NoParameters&, const InputsT& in,
               const moe::Routing<TypesT>& routing, const TapeT&, const moe::Nothing&) const {
    moe::detail::launch(context.exec, moe::detail::kernel_label<"test::copy">, context.num_tokens,
                        Copy<moe::Routing<TypesT>, decltype(in.x)>{routing, in.x});
  }
  template <class TypesT, class InputsT, class TapeT, class MatrixT, class DxT>
  void backward(const moe::Context<TypesT>& context, const moe::NoParameters&, const InputsT&,
                const moe::Routing<TypesT>&, const TapeT&, const MatrixT& d_logits, const DxT& dx,
                const moe::NoParameters&, const moe::Backward&, const moe::Nothing&) const {
    moe::detail::launch(context.exec, moe::detail::kernel_label<"test::add">, context.num_tokens,
                        Add<MatrixT, DxT>{d_logits, dx});
  }
};

/// What a router decides, or a gradient by it.
struct Decision {
  std::vector<int> ids;                          ///< [tokens, slots]
  std::vector<double> gates, scores, logits;     ///< [tokens, slots], [tokens, experts] twice
  std::vector<double> noise_clean, noise_scale;  ///< [tokens, experts], of a router that draws noise
};

using Values = std::map<std::string, std::vector<double>>;

struct AnyRouter {
  int experts = 0, hidden = 0, slots = 0;
  std::function<int(int tokens)> max_rows;
  /// x is [tokens, hidden]; training: with a tape.
  std::function<Decision(const std::vector<double>& x, bool training)> route;
  /// The gradients by "x" and by each trainable tensor of <weights, what is decided>. d_scale: by the noise's scale.
  std::function<Values(const std::vector<double>& x, const Decision& weights, bool accumulate)> gradients;
  /// From now on these tokens are real (1) or padding (0); empty: all are real.
  std::function<void(const std::vector<int>& real)> pad;
  std::function<Values()> tensors;
  std::function<void(const std::string& name, const std::vector<double>& values)> assign;
};

/// How x is handed over: alone.
struct Bare {
  template <class ViewT>
  ViewT operator()(const ViewT& x) const {
    return x;
  }
};

template <class T, class RouterT, class WithT>
class RouterBench {
 public:
  using Types = moe::Types<Exec, moe::Shape<>, moe::Precision<T>, moe::PortableEngine<Exec, T>>;

  RouterBench(const RouterT& router, int experts, int hidden, const WithT& with)
      : router_(router), with_(with), shape_{.experts = experts, .hidden = hidden, .intermediate = 1} {
    router_.check(shape_);
    parameters_ = router_.template parameters<Types>(moe::ParameterMaker(exec_, 0), shape_);
    scatter(parameters_);
  }

  int slots() const { return router_.slots(shape_); }
  int max_rows(int tokens) const { return router_.max_rows(shape_, tokens); }

  Decision route(const std::vector<double>& x, bool training) {
    const auto in = matrix(x);
    Run run = prepare(int(in.extent(0)), training ? moe::Use::training : moe::Use::inference);
    if (training) {
      router_.route(run.context, parameters_, inputs(in), run.parts.routing, run.parts.tape, run.parts.workspace);
    } else {
      run.parts.routing.noise = {};
      router_.route(run.context, parameters_, inputs(in), run.parts.routing, moe::NoTape(), run.parts.workspace);
    }
    return read(run);
  }

  Values gradients(const std::vector<double>& x, const Decision& weights, bool accumulate) {
    const auto in = matrix(x);
    const int tokens = int(in.extent(0)), experts = shape_.experts;
    Run run = prepare(tokens, moe::Use::training);
    auto g = router_.template parameters<typename Types::gradients>(moe::GradientMaker(exec_), shape_);
    scatter(g, 5);
    router_.route(run.context, parameters_, inputs(in), run.parts.routing, run.parts.tape, run.parts.workspace);
    const moe::Matrix<T, Memory> d_gates = run.parts.d_gates, d_scores = run.parts.d_scores,
                                 d_logits = run.parts.d_logits;
    const auto dx = rows<T>(tokens, shape_.hidden);
    Kokkos::deep_copy(dx, T(0.5));  // which is added to
    // a gradient of the noise's scale stays with its router, and what backward may overwrite is filled again
    const auto backward = [&](bool add) {
      test::assign(d_gates, weights.gates);
      test::assign(d_scores, weights.scores, experts);
      test::assign(d_logits, weights.logits, experts);
      if (run.parts.routing.noise.d_scale.extent(1) > 0) {
        test::assign(run.parts.routing.noise.d_scale, weights.noise_scale, experts);
      }
      router_.backward(run.context, parameters_, moe::inputs(moe::Matrix<const T, Memory>(in)), run.parts.routing,
                       run.parts.tape, d_gates, d_scores, d_logits, moe::Matrix<T, Memory>(dx), g,
                       moe::Backward{.accumulate = add}, run.parts.workspace);
    };
    backward(false);
    if (accumulate) backward(true);
    Values values = values_of(g);
    values["x"] = cast<double>(to_host(dx));
    for (double& each : values["x"]) each -= 0.5;
    return values;
  }

  void pad(const std::vector<int>& real) { real_ = real; }
  Values tensors() { return values_of(parameters_); }
  void assign(const std::string& name, const std::vector<double>& values) {
    moe::for_each_tensor(
        [&](auto& tensor) {
          using Element = typename std::decay_t<decltype(tensor)>::value_type;
          if (tensor.name == name) moe::assign(tensor, cast<Element>(values));
        },
        parameters_);
  }

 private:
  struct Parts {
    moe::Routing<Types> routing;
    typename RouterT::template Tape<Types> tape;
    typename RouterT::template Workspace<Types> workspace;
    typename Types::engine engine;
    moe::Matrix<T, Memory> d_gates, d_scores, d_logits;
  };
  struct Run {
    moe::Owned<Parts, Memory> parts;
    moe::Context<Types> context;
  };

  Run prepare(int tokens, moe::Use use) const {
    const int experts = shape_.experts, wide = moe::padded<T>(experts);
    const auto make = [&](auto& arena) {
      Parts parts;
      parts.routing = {arena, tokens, slots(), experts, false};
      if constexpr (moe::detail::DrawsNoise<RouterT>) parts.routing.noise = {arena, tokens, experts};
      parts.tape = router_.template tape<Types>(arena, shape_, tokens);
      parts.workspace = moe::detail::workspace_of<Types>(router_, arena, shape_, tokens, use);
      parts.engine = typename Types::engine(exec_, arena, router_.limits(shape_, tokens));
      parts.d_gates = arena.template matrix<T>(tokens, slots());
      parts.d_scores = arena.template matrix<T>(tokens, wide);
      parts.d_logits = arena.template matrix<T>(tokens, wide);
      return parts;
    };
    auto parts =
        moe::detail::carve(exec_, moe::detail::allocate(exec_, "test", moe::detail::measure<Exec>(make)), make);
    Kokkos::deep_copy(parts.routing.ids, -9);  // what nobody writes shows
    Kokkos::deep_copy(parts.routing.gates, T(-9));
    Kokkos::deep_copy(parts.routing.scores, T(-9));
    if (!real_.empty()) {
      parts.routing.has_padding = true;
      test::assign(parts.routing.real, real_);
      test::assign(parts.routing.real_count, std::vector<int>{int(std::count(real_.begin(), real_.end(), 1))});
    }
    return {parts, {exec_, shape_, parts.engine, tokens}};
  }

  Rows<T> matrix(const std::vector<double>& x) const {
    return rows<T>(x, int(x.size()) / shape_.hidden, shape_.hidden);
  }
  auto inputs(const Rows<T>& x) const {
    const auto in = moe::detail::as_inputs(with_(x));
    return moe::detail::with_x(moe::Matrix<const T, Memory>(in.x), in);
  }

  Decision read(const Run& run) const {
    const auto& routing = run.parts.routing;
    const int experts = shape_.experts;
    Decision decision{to_host(routing.ids),
                      cast<double>(to_host(routing.gates)),
                      cast<double>(to_host(routing.scores, experts)),
                      cast<double>(to_host(routing.logits, experts)),
                      {},
                      {}};
    if (routing.noise.clean.extent(1) > 0) {
      decision.noise_clean = cast<double>(to_host(routing.noise.clean, experts));
      decision.noise_scale = cast<double>(to_host(routing.noise.scale, experts));
    }
    return decision;
  }

  Exec exec_;
  RouterT router_;
  WithT with_;
  std::vector<int> real_;
  moe::Shape<> shape_;
  typename RouterT::template Parameters<Types> parameters_;
};

/// `with(x)` puts side inputs around x, a View.
/// \throws moe::Error where the router refuses the number of experts.
template <class T, class RouterT, class WithT = Bare>
AnyRouter any_router(const RouterT& router, int experts, int hidden, const WithT& with = {}) {
  const auto bench = std::make_shared<RouterBench<T, RouterT, WithT>>(router, experts, hidden, with);
  AnyRouter any;
  any.experts = experts;
  any.hidden = hidden;
  any.slots = bench->slots();
  any.max_rows = [bench](int tokens) { return bench->max_rows(tokens); };
  any.route = [bench](const std::vector<double>& x, bool training) { return bench->route(x, training); };
  any.gradients = [bench](const std::vector<double>& x, const Decision& weights, bool accumulate) {
    return bench->gradients(x, weights, accumulate);
  };
  any.pad = [bench](const std::vector<int>& real) { bench->pad(real); };
  any.tensors = [bench] { return bench->tensors(); };
  any.assign = [bench](const std::string& name, const std::vector<double>& values) { bench->assign(name, values); };
  return any;
}

}  // namespace test
