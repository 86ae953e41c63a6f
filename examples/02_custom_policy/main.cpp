// A router and an expert of one's own. Nothing is registered: a type that has these members is a policy, and a member
// that is missing is a sentence at compile time. trained_expert.cpp has an expert that learns.
#include <cstdio>
#include <moe/moe.hpp>

/// A token's expert is the hash of its id (Roller et al. 2021, "Hash layers for large sparse models"). moe::RuleRouter
/// makes a router of a rule alone, for training too; this one shows the whole contract.
struct HashRouter : moe::Stateless {
  int slots(const auto&) const { return 1; }                              // experts that a token can have
  int max_rows(const auto&, int num_tokens) const { return num_tokens; }  // the most rows that the experts get
  template <class TypesT, class InputsT, class... RestT>
  void route(const moe::Context<TypesT>& context, const moe::NoParameters&, const InputsT& in,
             const moe::Routing<TypesT>& routing, const RestT&...) const {
    const auto ids = moe::side<moe::TokenIds>(in).view;
    const unsigned num_experts = unsigned(context.shape.experts);
    Kokkos::parallel_for(
        "route", Kokkos::RangePolicy(context.exec, 0, context.num_tokens), KOKKOS_LAMBDA(int t) {
          routing.ids(t, 0) = int((unsigned(ids(t)) * 2654435761u >> 16) % num_experts);
          routing.gates(t, 0) = 1;
        });
  }
};

/// Expert e turns a token's features by e places.
struct TurnExpert : moe::Stateless {
  template <class TypesT, class SourceT, class RowsT, class... RestT>
  void forward(const moe::Context<TypesT>& context, const moe::NoParameters&, const moe::Segments& segments,
               const SourceT& x, const RowsT& rows, const RestT&...) const {
    const int hidden = context.shape.hidden;
    Kokkos::parallel_for(
        "turn", Kokkos::RangePolicy(context.exec, 0, segments.count), KOKKOS_LAMBDA(int e) {
          for (int r = segments.begin(e); r < segments.end(e); ++r)  // the rows of expert e
            for (int c = 0; c < hidden; ++c) rows(r, (c + e) % hidden) = x.row(r)[c];
        });
  }
};

int train();

int main() {
  const Kokkos::ScopeGuard kokkos(Kokkos::InitializationSettings().set_disable_warnings(true));
  const Kokkos::DefaultExecutionSpace exec;
  const moe::Layer layer{moe::Shape<>{.experts = 4, .hidden = 8, .intermediate = 8}, HashRouter{}, TurnExpert{}};
  const auto parameters = layer.parameters(exec);
  auto workspace = layer.workspace(exec, 12, moe::Use::inference);
  const Kokkos::View<float**, Kokkos::LayoutRight, Kokkos::SharedSpace> x("x", 12, 8), y("y", 12, 8);
  const Kokkos::View<int*, Kokkos::SharedSpace> ids("ids", 12);
  for (int t = 0; t < 12; ++t) x(t, 0) = 1, ids(t) = t % 6;  // tokens 6 to 11 have the ids of tokens 0 to 5

  layer.forward(exec, parameters, moe::inputs(x, moe::TokenIds{ids}), y, workspace);
  exec.fence();
  int wrong = 0;
  for (int t = 0; t < 12; ++t) {
    int expert = 0;  // where the one went
    while (expert < 7 && y(t, expert) == 0) ++expert;
    if (t < 6) std::printf("token id %d: expert %d\n", ids(t), expert);
    wrong += expert >= 4 || y(t, expert) != 1 || y(t, expert) != y((t + 6) % 12, expert);
  }
  wrong += train();
  return wrong;  // 0: each token was turned by an expert, equal ids by the same, and the other expert has learnt
}
