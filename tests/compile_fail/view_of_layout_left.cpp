// expect-error: moe: rows must be contiguous: ask for Kokkos::View<T**, Kokkos::LayoutRight, ...>

#include <moe/moe.hpp>

using Exec = Kokkos::DefaultExecutionSpace;

#ifdef MOE_POSITIVE_TWIN
using View = Kokkos::View<float**, Kokkos::LayoutRight, Exec>;
#else
using View = Kokkos::View<float**, Kokkos::LayoutLeft, Exec>;
#endif

void test(const Exec& exec, const View& x, const View& y) {
  const moe::RmsNorm norm{8};
  const auto parameters = norm.parameters(exec);
  auto workspace = norm.workspace(exec, 5);
  norm.forward(exec, parameters, x, y, workspace);
}
