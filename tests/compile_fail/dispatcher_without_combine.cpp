// expect-error: moe: a dispatcher needs `combine(context, routing, plan, rows, y, beta) const`

#include <moe/moe.hpp>

struct Dispatcher {
  template <class TypesT>
  using Workspace = moe::Nothing;
  template <class TypesT>
  moe::Nothing workspace(const auto&...) const {
    return {};
  }
  void plan(const auto&...) const {}
#ifdef MOE_POSITIVE_TWIN
  void combine(const auto&...) const {}
#endif
};

void test(const Kokkos::DefaultExecutionSpace& exec) {
  const moe::Layer layer{moe::Shape<4, 8, 8>{}, moe::SoftmaxTopK<2>{}, moe::SwiGlu{}, moe::NoBalance{}, Dispatcher{}};
  layer.parameters(exec);
}
