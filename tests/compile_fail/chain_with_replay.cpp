// expect-error: moe: a Chain of several mixtures would take the same moe::Replay in each of them; call its blocks one after the other, each with the routing recorded of it

#include <moe/moe.hpp>

using Exec = Kokkos::DefaultExecutionSpace;

void test(const Exec& exec, const Kokkos::View<float**, Kokkos::LayoutRight, Exec>& x,
          const Kokkos::View<int**, Kokkos::LayoutRight, Exec>& ids) {
  const moe::Layer layer{moe::Shape<4, 8, 8>{}, moe::SoftmaxTopK<2>{}, moe::SwiGlu{}};
#ifdef MOE_POSITIVE_TWIN
  const moe::Chain chain{moe::RmsNorm{8}, moe::Residual{layer}};
#else
  const moe::Chain chain{moe::Residual{layer}, moe::Residual{layer}};
#endif
  const auto parameters = chain.parameters(exec);
  auto workspace = chain.workspace(exec, 5);
  chain.forward(exec, parameters, moe::inputs(x, moe::Replay{ids}), x, workspace);
}
