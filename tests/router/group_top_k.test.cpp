#include <moe/router/group_top_k.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <reference/router_stages.hpp>
#include <support/choose.hpp>
#include <support/compare.hpp>
#include <support/router_contract.hpp>
#include <support/views.hpp>
#include <vector>

using namespace moe;
using Catch::Matchers::Message;
using test::choose;
using test::GivenLogits;
using test::infinity;
using test::not_a_number;
using test::shape_of;

namespace {

const auto keep = [](const auto& s, const auto& ids) { return reference::keep(s, ids); };
const auto normalise = [](const auto& s, const auto& ids) { return reference::normalise(s, ids, 1e-20); };

/// Half of the groups are kept; k may be as large as their experts.
template <class GroupScoreT, class WeighT, class BiasT>
auto grouped(int groups, const WeighT& weigh, const BiasT& bias) {
  return [=](int, int k) {
    using Select = GroupTopK<dynamic, dynamic, dynamic, GroupScoreT>;
    return Router<GivenLogits, Sigmoid, Select, WeighT, BiasT>{
        .select = {.k = k, .groups = groups, .top_groups = (groups + 1) / 2}, .weigh = weigh, .selection_bias = bias};
  };
}
reference::Select group_reference(int groups, int best) {
  return [=](const auto& s, const auto& bias, int k) {
    return reference::group_top_k(s, bias, k, groups, (groups + 1) / 2, best);
  };
}

}  // namespace

TEST_CASE("contract: the best groups by their maximum", "[router][contract]") {
  test::router_contract(grouped<GroupMaximum>(8, Keep(), NoSelectionBias()),
                        reference::by_token(reference::sigmoid, group_reference(8, 1), keep));
}

TEST_CASE("contract: the best groups by their best two, with a selection bias", "[router][contract]") {
  test::router_contract(grouped<GroupBestTwo>(4, Normalise(), SelectionBias()),
                        reference::by_token(reference::sigmoid, group_reference(4, 2), normalise));
  test::router_contract(grouped<GroupBest<3>>(1, Normalise(), SelectionBias()),
                        reference::by_token(reference::sigmoid, group_reference(1, 3), normalise));
}

TEST_CASE("GroupTopK: DeepSeek's two group scores differ", "[router][select]") {
  const std::vector<double> scores{0.9, 0.1, 0.6, 0.5, 0.2, 0.3, 0.4, 0.1};  // four groups of two
  CHECK(choose(moe::GroupTopK<2, 4, 1, moe::GroupMaximum>(), scores) == std::vector{0, 1});
  CHECK(choose(moe::GroupTopK<2, 4, 1, moe::GroupBestTwo>(), scores) == std::vector{2, 3});
  CHECK(choose(moe::GroupTopK<3, 4, 2, moe::GroupMaximum>(), scores) == std::vector{0, 2, 3});
  CHECK(choose(moe::GroupTopK<3, 4, 4>(), scores) == std::vector{0, 2, 3});  // all groups: top-k
}

TEST_CASE("GroupTopK: a group is as good as any number of its best", "[router][select]") {
  const std::vector<double> scores{9, 1, 1, 6, 5, 1, 4, 4, 4};  // three groups of three
  CHECK(choose(moe::GroupTopK<1, 3, 1, GroupBest<1>>(), scores) == std::vector{0});
  CHECK(choose(moe::GroupTopK<1, 3, 1, GroupBest<2>>(), scores) == std::vector{3});
  CHECK(choose(moe::GroupTopK<1, 3, 1, GroupBest<3>>(), scores) == std::vector{3});  // 11, 12, 12
  CHECK(choose(moe::GroupTopK<1, 3, 1, GroupBest<3>>(), {9, 1, 1, 6, 5, 0, 4, 4, 4}) == std::vector{6});
  CHECK(choose(moe::GroupTopK<1, 3, 1, GroupBest<9>>(), {9, 1, 1, 6, 5, 0, 4, 4, 4}) == std::vector{6});
}

TEST_CASE("GroupTopK: a static size chooses as a dynamic one", "[router][select]") {
  using Dynamic = moe::GroupTopK<dynamic, dynamic, dynamic>;
  for (int seed = 0; seed < 50; ++seed) {
    const auto scores = test::uniform(seed, 256), bias = test::uniform(seed + 100, 256, 0.5);
    const auto expected = reference::group_top_k(scores, bias, 8, 8, 4, 2);
    CHECK(choose(moe::GroupTopK<8, 8, 4>(), scores, bias) == expected);
    CHECK(choose(Dynamic{.k = 8, .groups = 8, .top_groups = 4}, scores, bias) == expected);
    CHECK(choose(moe::GroupTopK<8, dynamic, 4>{.groups = 8}, scores, bias) == expected);
  }
}

TEST_CASE("GroupTopK: equal groups and equal experts go to the lowest index", "[router][select]") {
  const std::vector<double> ties(12, 0.5);
  CHECK(choose(moe::GroupTopK<4, 4, 2>(), ties) == std::vector{0, 1, 2, 3});
  CHECK(choose(moe::GroupTopK<4, 4, 2>(), {0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1}) == std::vector{3, 4, 5, 9});
  // the better group is the later one, its equal experts come after those of the earlier
  CHECK(choose(moe::GroupTopK<2, 2, 2>(), {1, 0, 1, 1}) == std::vector{0, 2});
}

TEST_CASE("GroupTopK: the bias enters the groups", "[router][select]") {
  CHECK(choose(moe::GroupTopK<1, 2, 1>(), {0.9, 0.1, 0.2, 0.2}, {0, 0, 0.5, 0.5}) == std::vector{2});
}

TEST_CASE("GroupTopK: a group of bad scores loses, and is chosen all the same where all are bad", "[router][select]") {
  CHECK(choose(moe::GroupTopK<2, 2, 1>(), {not_a_number, 3, 1, 1}) == std::vector{2, 3});
  CHECK(choose(moe::GroupTopK<2, 2, 1>(), {infinity, -infinity, 1, 1}) == std::vector{2, 3});  // their sum is a NaN
  CHECK(choose(moe::GroupTopK<2, 2, 1>(), std::vector<double>(4, not_a_number)) == std::vector{0, 1});
}

TEST_CASE("GroupTopK: what it refuses", "[router][select]") {
  using Select = moe::GroupTopK<dynamic, dynamic, dynamic>;
  CHECK_NOTHROW(Select{.k = 8, .groups = 8, .top_groups = 4}.check(shape_of(256)));
  CHECK_THROWS_MATCHES((Select{.k = 2, .groups = 3, .top_groups = 1}.check(shape_of(8))), moe::Error,
                       Message("moe::GroupTopK: expected experts to be a multiple of 3 (groups), got 8"));
  CHECK_THROWS_MATCHES((Select{.k = 5, .groups = 4, .top_groups = 2}.check(shape_of(8))), moe::Error,
                       Message("moe::GroupTopK: expected k <= 4 (the experts of top_groups groups), got 5"));
  CHECK_THROWS_MATCHES((Select{.k = 1, .groups = 4, .top_groups = 5}.check(shape_of(8))), moe::Error,
                       Message("moe::GroupTopK: expected top_groups <= 4 (the number of groups), got 5"));
  CHECK_THROWS_MATCHES((Select{.k = 1, .groups = 128, .top_groups = 5}.check(shape_of(128))), moe::Error,
                       Message("moe::GroupTopK: expected groups <= 64, got 128"));
  CHECK_THROWS_MATCHES((Select{.k = 1, .groups = 0, .top_groups = 1}.check(shape_of(8))), moe::Error,
                       Message("moe::GroupTopK: expected groups >= 1, got 0"));
  CHECK_THROWS_MATCHES((Select{.k = 0, .groups = 2, .top_groups = 1}.check(shape_of(8))), moe::Error,
                       Message("moe::GroupTopK: expected k >= 1, got 0"));
  CHECK_THROWS_MATCHES((Select{.k = 1, .groups = 2, .top_groups = 0}.check(shape_of(8))), moe::Error,
                       Message("moe::GroupTopK: expected top_groups >= 1, got 0"));
}

TEST_CASE("static selections take no space", "[router][select]") {
  STATIC_REQUIRE(sizeof(moe::GroupTopK<8, 8, 4>) <= 4);
}
