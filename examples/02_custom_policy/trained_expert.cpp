// An expert of one's own that learns: parameters, forward and backward, and a training loop around them.
#include <cmath>
#include <cstdio>
#include <moe/moe.hpp>

/// y = s_e * x, feature by feature, with a learned s for each expert.
struct ScaleExpert {
  template <class TypesT>
  struct Parameters {
    // The elements' type, where they are, and in which order; Types are those of the layer that the expert is in.
    moe::Tensor<typename TypesT::storage, typename TypesT::memory, moe::RowMajor> scale;  // [experts, hidden]
    template <class F, class... TreesT>
    static void for_each(F&& f, TreesT&... trees) {
      f(trees.scale...);  // for optimisers and files: one line for each tensor
    }
  };
  template <class TypesT>
  using Tape = moe::Nothing;  // what forward keeps for backward besides x
  template <class TypesT>
  using Workspace = moe::Nothing;  // scratch

  /// The maker makes the parameters, or gradients by the same list. A request is a name, the shape in files, and how many
  /// matrices [parts, out, in] there are: one for each expert, so that checkpoints can hold a part of the experts.
  template <class TypesT, class MakerT>
  Parameters<TypesT> parameters(const MakerT& maker, const typename TypesT::shape& shape) const {
    const moe::MatrixExtents each{1, 1, shape.hidden};
    const moe::TensorRequest request{"scale", {shape.experts, shape.hidden}, shape.experts, each};
    return {maker.template make<typename TypesT::storage, moe::RowMajor>(request, moe::Ones{})};
  }
  template <class TypesT, class ArenaT>
  moe::Nothing tape(ArenaT&, const typename TypesT::shape&, int) const {
    return {};
  }
  template <class TypesT, class ArenaT>
  moe::Nothing workspace(ArenaT&, const typename TypesT::shape&, int, moe::Use) const {
    return {};
  }
  moe::EngineLimits limits(const auto&, int) const { return {}; }  // no grouped products

  /// rows(r, :) = the expert's result for the token x.row(r), for the rows r of each expert.
  template <class TypesT, class SourceT, class RowsT, class... RestT>
  void forward(const moe::Context<TypesT>& context, const Parameters<TypesT>& p, const moe::Segments& segments,
               const SourceT& x, const RowsT& rows, const RestT&...) const {
    const int hidden = context.shape.hidden;
    const auto scale = p.scale.access();  // by (expert, part, out, in)
    Kokkos::parallel_for(
        "scale", Kokkos::RangePolicy(context.exec, 0, segments.count), KOKKOS_LAMBDA(int e) {
          for (int r = segments.begin(e); r < segments.end(e); ++r)
            for (int c = 0; c < hidden; ++c) rows(r, c) = scale(e, 0, 0, c) * x.row(r)[c];
        });
  }

  /// A row's result goes into y times its gate, dy.factor(r). So, with dy.row(r) as y has it:
  ///
  ///     d_gates(r)   = <dy.row(r), the expert's result>
  ///     d_rows(r, :) = the gradient of x.row(r); overwritten
  ///     g            = the gradient of the parameters; overwritten, or added to if options.accumulate. A tensor that is
  ///                    empty is not asked for.
  template <class TypesT, class SourceT, class DeltaT, class GatesT, class RowsT, class GradientsT>
  void backward(const moe::Context<TypesT>& context, const Parameters<TypesT>& p, const moe::Nothing& /*tape*/,
                const moe::Segments& segments, const SourceT& x, const DeltaT& dy, const GatesT& d_gates,
                const RowsT& d_rows, const GradientsT& g, const moe::Backward& options,
                const moe::Nothing& /*workspace*/) const {
    using C = typename TypesT::compute;
    const int hidden = context.shape.hidden;
    const auto scale = p.scale.access();
    const auto d_scale = g.scale.access();
    const bool wanted = !g.scale.empty(), accumulate = options.accumulate;
    Kokkos::parallel_for(
        "scale_backward", Kokkos::RangePolicy(context.exec, 0, segments.count), KOKKOS_LAMBDA(int e) {
          for (int c = 0; wanted && !accumulate && c < hidden; ++c) d_scale(e, 0, 0, c) = 0;
          for (int r = segments.begin(e); r < segments.end(e); ++r) {
            C d_gate = 0;
            for (int c = 0; c < hidden; ++c) {
              const C d = dy.row(r)[c], value = x.row(r)[c], s = scale(e, 0, 0, c);
              d_gate += d * s * value;
              d_rows(r, c) = dy.factor(r) * d * s;
              if (wanted) d_scale(e, 0, 0, c) += dy.factor(r) * d * value;
            }
            d_gates(r) = d_gate;
          }
        });
  }
};

using Rows = Kokkos::View<float**, Kokkos::LayoutRight, Kokkos::SharedSpace>;

/// The mean of (y - target)^2, and its gradient.
double loss(const Kokkos::DefaultExecutionSpace& exec, const Rows& y, const Rows& target, const Rows& dy) {
  exec.fence();
  double sum = 0;
  const double n = double(y.size());
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double difference = double(y.data()[i]) - target.data()[i];
    sum += difference * difference / n;
    dy.data()[i] = float(2 * difference / n);
  }
  return sum;
}

/// Tokens whose first feature is positive are to be doubled, the others negated: a task for two experts. Returns 0 if the
/// layer learns it, and a gradient is what a difference says.
int train() {
  const int tokens = 96, hidden = 16;
  const Kokkos::DefaultExecutionSpace exec;
  const moe::Layer layer{moe::Shape<>{.experts = 4, .hidden = hidden, .intermediate = 8}, moe::SoftmaxTopK<2>{},
                         ScaleExpert{}};
  auto parameters = layer.parameters(exec, 5);
  auto gradients = layer.gradients(exec);
  auto workspace = layer.workspace(exec, tokens);
  auto tape = layer.tape(exec, tokens);
  const moe::AdamW optimiser{.learning_rate = 3e-2};
  auto state = optimiser.state(exec, parameters, gradients);

  const Rows x("x", tokens, hidden), y("y", tokens, hidden), target("target", tokens, hidden);
  const Rows dy("dy", tokens, hidden), dx("dx", tokens, hidden);
  for (int t = 0; t < tokens; ++t) {
    for (int c = 0; c < hidden; ++c) x(t, c) = std::sin(1.7f * float(t) + 2.3f * float(c * c));
    for (int c = 0; c < hidden; ++c) target(t, c) = (x(t, 0) > 0 ? 2.0f : -1.0f) * x(t, c);
  }

  const auto loss_with = [&](float value) {
    auto values = moe::to_host(parameters.experts.scale);
    values[3] = value;
    moe::assign(parameters.experts.scale, values);
    layer.forward(exec, parameters, x, y, tape, workspace);
    return loss(exec, y, target, dy);
  };
  const double difference = (loss_with(1.01f) - loss_with(0.99f)) / 0.02;
  const double first = loss_with(1);  // as it was made
  layer.backward(exec, parameters, tape, dy, dx, gradients, workspace);
  exec.fence();
  const double gradient = moe::to_host(gradients.experts.scale)[3];
  std::printf("a gradient: %.6f, by a difference: %.6f\n", gradient, difference);

  double last = first;
  for (int step = 0; step < 150; ++step) {
    layer.forward(exec, parameters, x, y, tape, workspace);
    last = loss(exec, y, target, dy);
    layer.backward(exec, parameters, tape, dy, dx, gradients, workspace);
    layer.update(exec, parameters, tape);
    optimiser.step(exec, parameters, gradients, state);
  }
  std::printf("mean squared error: %.3f before training, %.3f after\n", first, last);
  return (last < 0.3 * first ? 0 : 1) + (std::abs(gradient - difference) < 0.01 * std::abs(difference) ? 0 : 1);
}
