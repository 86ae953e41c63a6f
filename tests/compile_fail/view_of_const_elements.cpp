// expect-error: moe: y and dx are written; their elements must not be const

#include <moe/moe.hpp>

using Exec = Kokkos::DefaultExecutionSpace;

#ifdef MOE_POSITIVE_TWIN
using View = Kokkos::View<float**, Kokkos::LayoutRight, Exec>;
#else
using View = Kokkos::View<const float**, Kokkos::LayoutRight, Exec>;
#endif

void test(const Exec& exec, const Kokkos::View<const float**, Kokkos::LayoutRight, Exec>& x, const View& y) {
  const moe::RmsNorm norm{8};
  const auto parameters = norm.parameters(exec);
  auto workspace = norm.workspace(exec, 5);
  norm.forward(exec, parameters, x, y, workspace);
}
