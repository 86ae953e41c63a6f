// The questions behind a layer's sentences: yes for every policy of the library's, no for a type that lacks the member.
// (The sentences themselves: compile_fail/.)

#include <moe/moe.hpp>

#include <catch2/catch_test_macros.hpp>

#include <type_traits>

namespace moe_tests::concepts {

using namespace moe::detail;

using Exec = Kokkos::DefaultExecutionSpace;
using Shape = moe::Shape<>;
using Router = moe::SigmoidTopK<2, moe::Normalise, moe::SelectionBias>;
using Layer = moe::Layer<Shape, Router, moe::SwiGlu>;
using Types = Layer::TypesOf<Exec>;
using Inputs = moe::Inputs<moe::Matrix<const float, Exec::memory_space>>;

struct Bare {};

template <class RouterT>
constexpr bool is_router =
    HasParameters<RouterT, Types>&& HasTape<RouterT, Types>&& HasWorkspace<RouterT, Types>&& HasSlots<
        RouterT, Shape>&& HasMaxRows<RouterT, Shape>&& HasLimits<RouterT,
                                                                 Shape>&& MakesParameters<RouterT,
                                                                                          Types>&& MakesTape<RouterT,
                                                                                                             Types> &&
    (MakesWorkspace<RouterT, Types> || MakesWorkspace<RouterT, Types, moe::Use>)&&HasRoute<RouterT, Types, Inputs>;
template <class ExpertT>
constexpr bool is_expert = HasParameters<ExpertT, Types>&& HasTape<ExpertT, Types>&& HasWorkspace<ExpertT, Types>&&
    HasLimits<ExpertT, Shape>&& MakesParameters<ExpertT, Types>&& MakesTape<ExpertT, Types>&&
        MakesWorkspace<ExpertT, Types, moe::Use>&& HasExpertForward<ExpertT, Types>;
template <class BalancerT>
constexpr bool is_balancer = Balances<BalancerT, Types, ParametersOf<Router, Types>>;

/// Writes less than a layer wants to hand over.
struct WrongArguments : moe::Stateless {
  int slots() const { return 1; }
  int max_rows(const Shape&) const { return 1; }
  void route(int) const {}
  void forward(int) const {}
  void plan(int) const {}
  void combine(int) const {}
  void backward(int) const {}
  void combine_backward(int) const {}
  void update(int) const {}
};

struct SlotsAreNoNumber {
  const char* slots(const Shape&) const { return ""; }
};

/// Everything, as a user would write it with `auto`.
struct OfOnesOwn : moe::Stateless {
  int slots(const auto&) const { return 1; }
  int max_rows(const auto&, int num_tokens) const { return num_tokens; }
  void route(const auto&...) const {}
  void forward(const auto&...) const {}
  void backward(const auto&...) const {}
};

TEST_CASE("the library's policies are policies", "[concepts]") {
  STATIC_REQUIRE(is_router<moe::SoftmaxTopK<2>>);
  STATIC_REQUIRE(is_router<moe::SoftmaxTopK<moe::dynamic, moe::Normalise>>);
  STATIC_REQUIRE(is_router<Router>);
  STATIC_REQUIRE(HasRouterBackward<Router, Types, Inputs>);
  STATIC_REQUIRE(is_expert<moe::SwiGlu>);
  STATIC_REQUIRE(is_expert<moe::Mlp<moe::Gelu>>);
  STATIC_REQUIRE(HasExpertBackward<moe::SwiGlu, Types>);
  STATIC_REQUIRE(is_balancer<moe::NoBalance>);
  STATIC_REQUIRE(is_balancer<moe::SwitchLoss>);
  STATIC_REQUIRE(is_balancer<moe::ZLoss>);
  STATIC_REQUIRE(is_balancer<moe::LossFreeBias>);
  STATIC_REQUIRE(is_balancer<moe::Balance<>>);
  STATIC_REQUIRE(is_balancer<moe::Balance<moe::SwitchLoss, moe::LossFreeBias>>);
  STATIC_REQUIRE(HasPlan<moe::Dropless, Types>);
  STATIC_REQUIRE(HasCombine<moe::Dropless, Types>);
  STATIC_REQUIRE(HasCombineBackward<moe::Dropless, Types>);
  STATIC_REQUIRE(ChoosesEngine<moe::BestEngine>);
  STATIC_REQUIRE(ChoosesEngine<moe::PortableTeams>);
}

TEST_CASE("a policy of one's own needs no types in its signatures", "[concepts]") {
  STATIC_REQUIRE(is_router<OfOnesOwn>);
  STATIC_REQUIRE(is_expert<OfOnesOwn>);
  STATIC_REQUIRE(HasRouterBackward<OfOnesOwn, Types, Inputs>);
  STATIC_REQUIRE(HasExpertBackward<OfOnesOwn, Types>);
}

TEST_CASE("each missing member is noticed", "[concepts]") {
  STATIC_REQUIRE_FALSE(HasParameters<Bare, Types>);
  STATIC_REQUIRE_FALSE(HasTape<Bare, Types>);
  STATIC_REQUIRE_FALSE(HasWorkspace<Bare, Types>);
  STATIC_REQUIRE_FALSE(MakesParameters<Bare, Types>);
  STATIC_REQUIRE_FALSE(MakesTape<Bare, Types>);
  STATIC_REQUIRE_FALSE(MakesWorkspace<Bare, Types>);
  STATIC_REQUIRE_FALSE(HasSlots<Bare, Shape>);
  STATIC_REQUIRE_FALSE(HasMaxRows<Bare, Shape>);
  STATIC_REQUIRE_FALSE(HasLimits<Bare, Shape>);
  STATIC_REQUIRE_FALSE(HasRoute<Bare, Types, Inputs>);
  STATIC_REQUIRE_FALSE(HasRouterBackward<Bare, Types, Inputs>);
  STATIC_REQUIRE_FALSE(HasExpertForward<Bare, Types>);
  STATIC_REQUIRE_FALSE(HasExpertBackward<Bare, Types>);
  STATIC_REQUIRE_FALSE(HasPlan<Bare, Types>);
  STATIC_REQUIRE_FALSE(HasCombine<Bare, Types>);
  STATIC_REQUIRE_FALSE(HasCombineBackward<Bare, Types>);
  STATIC_REQUIRE_FALSE(is_balancer<Bare>);
  STATIC_REQUIRE_FALSE(is_balancer<moe::Dropless>);
  STATIC_REQUIRE_FALSE(is_balancer<moe::Precision<double>>);
  STATIC_REQUIRE_FALSE(ChoosesEngine<moe::Precision<double>>);
}

TEST_CASE("a member with other arguments is noticed", "[concepts]") {
  STATIC_REQUIRE_FALSE(HasSlots<WrongArguments, Shape>);
  STATIC_REQUIRE_FALSE(HasSlots<SlotsAreNoNumber, Shape>);
  STATIC_REQUIRE_FALSE(HasMaxRows<WrongArguments, Shape>);
  STATIC_REQUIRE_FALSE(HasRoute<WrongArguments, Types, Inputs>);
  STATIC_REQUIRE_FALSE(HasRouterBackward<WrongArguments, Types, Inputs>);
  STATIC_REQUIRE_FALSE(HasExpertForward<WrongArguments, Types>);
  STATIC_REQUIRE_FALSE(HasExpertBackward<WrongArguments, Types>);
  STATIC_REQUIRE_FALSE(HasPlan<WrongArguments, Types>);
  STATIC_REQUIRE_FALSE(HasCombine<WrongArguments, Types>);
  STATIC_REQUIRE_FALSE(HasCombineBackward<WrongArguments, Types>);
  STATIC_REQUIRE_FALSE(is_balancer<WrongArguments>);
}

TEST_CASE("a policy without a type of its own gets a stand-in, and with one its own", "[concepts]") {
  STATIC_REQUIRE(std::is_same_v<ParametersOf<Bare, Types>, moe::NoParameters>);
  STATIC_REQUIRE(std::is_same_v<TapeOf<Bare, Types>, moe::Nothing>);
  STATIC_REQUIRE(std::is_same_v<WorkspaceOf<Bare, Types>, moe::Nothing>);
  STATIC_REQUIRE(std::is_same_v<ParametersOf<moe::SwiGlu, Types>, moe::SwiGlu::Parameters<Types>>);
  STATIC_REQUIRE(std::is_same_v<TapeOf<moe::SwiGlu, Types>, moe::SwiGlu::Tape<Types>>);
  STATIC_REQUIRE(std::is_same_v<WorkspaceOf<moe::SwiGlu, Types>, moe::SwiGlu::Workspace<Types>>);
}

TEST_CASE("a side input is found by its type", "[concepts]") {
  using Ids = moe::TokenIds<Kokkos::View<int*, Exec>>;
  using WithIds = moe::Inputs<Kokkos::View<float**, Exec>, moe::Step<>, Ids>;
  STATIC_REQUIRE(moe::has_side_v<moe::TokenIds, WithIds>);
  STATIC_REQUIRE(moe::has_side_v<moe::Step, WithIds>);
  STATIC_REQUIRE_FALSE(moe::has_side_v<moe::Padding, WithIds>);
  STATIC_REQUIRE_FALSE(moe::has_side_v<moe::TokenIds, Inputs>);
}

TEST_CASE("static sizes take no room", "[concepts]") {
  STATIC_REQUIRE(std::is_empty_v<moe::Size<3>>);
  STATIC_REQUIRE(std::is_empty_v<moe::TopK<8>>);
  STATIC_REQUIRE(std::is_empty_v<moe::SwiGlu>);
  STATIC_REQUIRE(std::is_empty_v<moe::Dropless>);
  STATIC_REQUIRE(sizeof(moe::Shape<>) == 3 * sizeof(int));
}

}  // namespace moe_tests::concepts
