// expect-error: moe: an expert needs `forward(context, parameters, segments, source, rows, tape, workspace) const`

#include <moe/moe.hpp>

struct Expert : moe::Stateless {
#ifdef MOE_POSITIVE_TWIN
  void forward(const auto&...) const {}
#endif
};

void test(const Kokkos::DefaultExecutionSpace& exec) {
  const moe::Layer layer{moe::Shape<4, 8, 8>{}, moe::SoftmaxTopK<2>{}, Expert{}};
  layer.parameters(exec);
}
