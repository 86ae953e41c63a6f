// expect-error: moe: the fourth argument of Layer is a balancer: it needs

#include <moe/moe.hpp>

void test(const Kokkos::DefaultExecutionSpace& exec) {
#ifdef MOE_POSITIVE_TWIN
  moe::Layer layer{moe::Shape<4, 8, 8>{}, moe::SoftmaxTopK<2>{}, moe::SwiGlu{}, moe::NoBalance{}, moe::Dropless{}};
#else
  moe::Layer layer{moe::Shape<4, 8, 8>{}, moe::SoftmaxTopK<2>{}, moe::SwiGlu{}, moe::Dropless{}};
#endif
  layer.parameters(exec);
}
