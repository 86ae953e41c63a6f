// expect-error: moe: to be trained, an expert needs `backward(context, parameters, tape, segments, x, dy, d_gate_rows,

#include <moe/moe.hpp>

struct Expert : moe::Stateless {
  void forward(const auto&...) const {}
#ifdef MOE_POSITIVE_TWIN
  void backward(const auto&...) const {}
#endif
};

using Exec = Kokkos::DefaultExecutionSpace;

void test(const Exec& exec, const Kokkos::View<float**, Kokkos::LayoutRight, Exec>& x) {
  const moe::Layer layer{moe::Shape<4, 8, 8>{}, moe::SoftmaxTopK<2>{}, Expert{}};
  const auto parameters = layer.parameters(exec), gradients = layer.gradients(exec);
  auto tape = layer.tape(exec, 5);
  auto workspace = layer.workspace(exec, 5);
  layer.backward(exec, parameters, tape, x, x, gradients, workspace);
}
