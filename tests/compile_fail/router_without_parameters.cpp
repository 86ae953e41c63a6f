// expect-error: moe: a router needs `template <class TypesT> struct Parameters`; NoParameters if it has none

#include <moe/moe.hpp>

struct Router {
#ifdef MOE_POSITIVE_TWIN
  template <class TypesT>
  using Parameters = moe::NoParameters;
#endif
  template <class TypesT>
  using Tape = moe::Nothing;
  template <class TypesT>
  using Workspace = moe::Nothing;

  template <class TypesT>
  moe::NoParameters parameters(const auto&, const auto&) const {
    return {};
  }
  template <class TypesT>
  moe::Nothing tape(auto&, const auto&, int) const {
    return {};
  }
  template <class TypesT>
  moe::Nothing workspace(auto&, const auto&, int) const {
    return {};
  }
  moe::EngineLimits limits(const auto&, int) const { return {}; }
  int slots(const auto&) const { return 1; }
  int max_rows(const auto&, int num_tokens) const { return num_tokens; }
  void route(const auto&...) const {}
};

void test(const Kokkos::DefaultExecutionSpace& exec) {
  const moe::Layer layer{moe::Shape<4, 8, 8>{}, Router{}, moe::SwiGlu{}};
  layer.parameters(exec);
}
