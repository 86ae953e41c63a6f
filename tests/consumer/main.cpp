#include <moe/moe.hpp>

int main(int argc, char** argv) {
  Kokkos::ScopeGuard const kokkos{argc, argv};
  Kokkos::DefaultExecutionSpace const exec;
  moe::Layer layer{moe::Shape<>{.experts = 4, .hidden = 16, .intermediate = 32}, moe::SoftmaxTopK<2>{}, moe::SwiGlu{},
                   moe::SwitchLoss{.weight = 0.01f}, moe::Dropless{}};
  auto parameters = layer.parameters(exec, 1);
  auto workspace = layer.workspace(exec, 8);
  Kokkos::View<float**, Kokkos::LayoutRight> const x{"x", 8, 16}, y{"y", 8, 16};
  layer.forward(exec, parameters, x, y, workspace);
  exec.fence();
}
