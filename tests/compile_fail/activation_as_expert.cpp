// expect-error: moe: FeedForward wants to know what the activation is applied to: moe::Plain<moe::Relu>

#include <moe/moe.hpp>

#ifdef MOE_POSITIVE_TWIN
using Expert = moe::FeedForward<moe::Gated<moe::Silu>>;
#else
using Expert = moe::FeedForward<moe::Silu>;
#endif

void test(const Kokkos::DefaultExecutionSpace& exec) {
  const moe::Layer layer{moe::Shape<4, 8, 8>{}, moe::SoftmaxTopK<2>{}, Expert{}};
  layer.parameters(exec);
}
