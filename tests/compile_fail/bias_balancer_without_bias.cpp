// expect-error: moe: this balancer moves a selection bias, which the router has not; give the router one

#include <moe/moe.hpp>

#ifdef MOE_POSITIVE_TWIN
using Router = moe::SigmoidTopK<2, moe::Normalise, moe::SelectionBias>;
#else
using Router = moe::SigmoidTopK<2, moe::Normalise>;
#endif

void test(const Kokkos::DefaultExecutionSpace& exec) {
  moe::Layer layer{moe::Shape<4, 8, 8>{}, Router{}, moe::SwiGlu{}, moe::Balance{moe::ZLoss{}, moe::LossFreeBias{}}};
  layer.parameters(exec);
}
