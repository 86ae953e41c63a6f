// expect-error: moe: a policy of this layer needs a side input that was not passed; write moe::inputs(x, moe::TokenIds{ids})

#include <moe/moe.hpp>

/// An expert by token id.
struct ByToken : moe::Stateless {
  int slots(const auto&) const { return 1; }
  int max_rows(const auto&, int num_tokens) const { return num_tokens; }
  void route(const auto&, const auto&, const auto& in, const auto&...) const {
    [[maybe_unused]] const auto ids = moe::side<moe::TokenIds>(in);
  }
};

using Exec = Kokkos::DefaultExecutionSpace;

void test(const Exec& exec, const Kokkos::View<float**, Kokkos::LayoutRight, Exec>& x,
          [[maybe_unused]] const Kokkos::View<int*, Exec>& ids) {
  const moe::Layer layer{moe::Shape<4, 8, 8>{}, ByToken{}, moe::SwiGlu{}};
  const auto parameters = layer.parameters(exec);
  auto workspace = layer.workspace(exec, 5);
#ifdef MOE_POSITIVE_TWIN
  layer.forward(exec, parameters, moe::inputs(x, moe::TokenIds{ids}), x, workspace);
#else
  layer.forward(exec, parameters, x, x, workspace);
#endif
}
