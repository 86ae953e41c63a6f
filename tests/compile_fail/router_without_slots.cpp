// expect-error: moe: a router needs `int slots(shape) const`, the experts that a token can have

#include <moe/moe.hpp>

struct Router : moe::Stateless {
#ifdef MOE_POSITIVE_TWIN
  int slots(const auto&) const { return 1; }
#endif
  int max_rows(const auto&, int num_tokens) const { return num_tokens; }
  void route(const auto&...) const {}
};

void test(const Kokkos::DefaultExecutionSpace& exec) {
  const moe::Layer layer{moe::Shape<4, 8, 8>{}, Router{}, moe::SwiGlu{}};
  layer.workspace(exec, 5);
}
