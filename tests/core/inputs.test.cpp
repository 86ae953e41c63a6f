#include <moe/core/inputs.hpp>
#include <moe/moe.hpp>

#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <string>
#include <support/compare.hpp>
#include <support/parameters.hpp>
#include <support/views.hpp>
#include <type_traits>
#include <vector>

namespace {

/// A policy of a user's own: expert = token id mod E, gate 1. (Roller et al. 2021, "Hash layers".)
template <class RoutingT, class IdsT>
struct HashTokens {
  RoutingT routing;
  IdsT token_ids;
  int experts;
  KOKKOS_FUNCTION void operator()(std::int64_t t) const {
    routing.ids(t, 0) = int(token_ids(t) % experts);
    routing.gates(t, 0) = 1;
  }
};

struct Hash : moe::Stateless {
  static constexpr bool needs_sides = true;

  template <class ShapeT>
  int slots(const ShapeT&) const {
    return 1;
  }
  template <class ShapeT>
  int max_rows(const ShapeT&, int num_tokens) const {
    return num_tokens;
  }
  template <class TypesT, class InputsT, class TapeT>
  void route(const moe::Context<TypesT>& context, const moe::NoParameters&, const InputsT& in,
             const moe::Routing<TypesT>& routing, const TapeT&, const moe::Nothing&) const {
    const auto ids = moe::side<moe::TokenIds>(in).view;
    Kokkos::parallel_for(
        "hash", Kokkos::RangePolicy<typename TypesT::exec>(context.exec, 0, context.num_tokens),
        HashTokens<moe::Routing<TypesT>, std::decay_t<decltype(ids)>>{routing, ids, context.shape.experts});
  }
  template <class... ArgumentsT>
  void backward(const ArgumentsT&...) const {}  // nothing to train
};

auto hash_layer() {
  return moe::Layer{moe::Shape<>{.experts = 4, .hidden = 3, .intermediate = 5},
                    Hash(),
                    moe::SwiGlu(),
                    moe::NoBalance(),
                    moe::Dropless(),
                    moe::Precision<double>(),
                    moe::PortableTeams()};
}

}  // namespace

TEST_CASE("side inputs are found by their type", "[core][inputs]") {
  const auto x = test::rows<float>(2, 3);
  const auto ids = test::numbers<int>(std::vector{7, 9});
  const auto mask = test::numbers<float>(std::vector{1, 0});
  const auto in = moe::inputs(x, moe::Step{std::uint64_t(12)}, moe::TokenIds{ids}, moe::Padding{mask});
  CHECK(in.x.data() == x.data());
  CHECK(moe::side<moe::TokenIds>(in).view.data() == ids.data());
  CHECK(moe::side<moe::Padding>(in).view.data() == mask.data());
  CHECK(moe::side<moe::Step>(in).value == 12);
  using In = std::decay_t<decltype(in)>;
  STATIC_REQUIRE(moe::has_side_v<moe::TokenIds, In>);
  STATIC_REQUIRE_FALSE(moe::has_side_v<moe::TokenIds, std::decay_t<decltype(moe::inputs(x, moe::Step{1}))>>);
  STATIC_REQUIRE_FALSE(moe::has_side_v<moe::TokenIds, std::decay_t<decltype(moe::inputs(x))>>);
}

TEST_CASE("a bare view is the set that holds only x", "[core][inputs]") {
  const auto x = test::rows<float>(2, 3);
  const auto in = moe::detail::as_inputs(x);
  CHECK(in.x.data() == x.data());
  STATIC_REQUIRE(std::tuple_size_v<decltype(in.sides)> == 0);
  const auto other = test::rows<float>(2, 3);
  const auto with = moe::inputs(x, moe::Step{3});
  CHECK(moe::detail::as_inputs(with).x.data() == x.data());
  const auto moved = moe::detail::with_x(other, with);
  CHECK(moved.x.data() == other.data());
  CHECK(moe::side<moe::Step>(moved).value == 3);
}

TEST_CASE("a router of one's own gets the side input it asks for", "[core][inputs]") {
  const auto layer = hash_layer();
  const test::Exec exec;
  auto p = layer.parameters(exec);
  const std::vector<int> ids{5, 0, 7, 2, 6, 5};
  const auto token_ids = test::numbers<int>(ids);
  const auto x = test::rows<double>(test::uniform(1, 18), 6, 3), y = test::rows<double>(6, 3);
  const auto dx = test::rows<double>(6, 3), z = test::rows<double>(6, 3);
  auto workspace = layer.workspace(exec, 6);
  auto tape = layer.tape(exec, 6);
  auto g = layer.gradients(exec);
  layer.forward(exec, p, moe::inputs(x, moe::TokenIds{token_ids}), y, tape, workspace);
  CHECK(test::to_host(tape.routing.ids) == std::vector{1, 0, 3, 2, 2, 1});
  CHECK(test::to_host(tape.load) == std::vector{1, 2, 2, 1});
  layer.backward(exec, p, tape, y, dx, g, workspace);
  CHECK_FALSE(test::all_zero(test::to_host(dx)));

  SECTION("and does without backward") {
    layer.forward(exec, p, moe::inputs(x, moe::TokenIds{token_ids}), z, workspace);
    CHECK(test::same_bits(test::to_host(z), test::to_host(y)));
  }
  SECTION("inside a chain too") {
    const moe::Chain chain{moe::Residual{layer}, layer};
    auto q = chain.parameters(exec);
    auto chain_workspace = chain.workspace(exec, 6);
    auto chain_tape = chain.tape(exec, 6);
    chain.forward(exec, q, moe::inputs(x, moe::TokenIds{token_ids}), z, chain_tape, chain_workspace);
    chain.visit(chain_tape, [](const auto&, const auto& each) {
      CHECK(test::to_host(each.routing.ids) == std::vector{1, 0, 3, 2, 2, 1});
    });
  }
}
