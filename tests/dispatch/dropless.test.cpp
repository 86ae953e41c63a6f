#include <moe/dispatch/dropless.hpp>

#include <algorithm>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <moe/core/precision.hpp>
#include <moe/core/shape.hpp>
#include <moe/layer/block.hpp>
#include <reference/balancer.hpp>
#include <reference/plan.hpp>
#include <string>
#include <support/compare.hpp>
#include <support/views.hpp>
#include <vector>

namespace {

struct NoEngine {};
using Types = moe::Types<test::Exec, moe::Shape<>, moe::Precision<float>, NoEngine>;

struct Sorted {
  std::vector<int> offsets, tokens, rows, load;
  std::vector<float> gates;
};

/// A plan of these assignments, made in memory that holds other numbers, for room for more tokens than there are.
Sorted sort(const std::vector<int>& ids, const std::vector<double>& gates, int slots, int experts) {
  const int tokens = int(ids.size()) / slots, max_tokens = tokens + 3;
  const test::Exec exec;
  const moe::Shape<> shape{.experts = experts, .hidden = 1, .intermediate = 1};
  const moe::Dropless dropless;
  struct Parts {
    moe::Routing<Types> routing;
    moe::Plan<Types> plan;
    moe::Dropless::Workspace<Types> workspace;
  };
  const auto make = [&](auto& arena) {
    return Parts{{arena, max_tokens, slots, experts, true},
                 {arena, max_tokens, slots, max_tokens * slots, experts},
                 dropless.workspace<Types>(arena, shape, max_tokens, slots)};
  };
  const auto parts =
      moe::detail::carve(exec, moe::detail::allocate(exec, "test", moe::detail::measure<test::Exec>(make)), make);
  const auto routing = parts.routing.first(tokens);
  const auto plan = parts.plan.first(tokens);
  for (const auto& garbage : {plan.offsets, plan.tokens, plan.load}) Kokkos::deep_copy(garbage, -77);
  Kokkos::deep_copy(plan.rows, -77);
  test::assign(routing.ids, ids);
  test::assign(routing.gates, gates);
  dropless.plan(moe::Context<Types>{exec, shape, {}, tokens}, routing, plan, parts.workspace);

  Sorted sorted{test::to_host(plan.offsets), {}, test::to_host(plan.rows), test::to_host(plan.load), {}};
  sorted.tokens = test::slice(test::to_host(plan.tokens), 0, sorted.offsets.back());
  sorted.gates = test::slice(test::to_host(plan.gates), 0, sorted.offsets.back());
  return sorted;
}

void check(const std::vector<int>& ids, int slots, int experts) {
  const auto gates = test::uniform<float>(9, std::int64_t(ids.size()));
  const Sorted actual = sort(ids, gates, slots, experts);
  const reference::Plan expected = reference::sort_by_expert(ids, slots, experts);
  CHECK(actual.offsets == expected.offsets);
  CHECK(actual.tokens == expected.tokens);
  CHECK(actual.rows == expected.rows);
  CHECK(actual.load == reference::load(ids, experts));

  // there and back
  std::vector<int> seen;
  bool consistent = true;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const int row = actual.rows[i];
    if (ids[i] < 0) {
      consistent = consistent && row == -1;
      continue;
    }
    consistent = consistent && row >= actual.offsets[ids[i]] && row < actual.offsets[ids[i] + 1] &&
                 actual.tokens[row] == int(i) / slots && actual.gates[row] == float(gates[i]);
    seen.push_back(row);
  }
  CHECK(consistent);
  std::sort(seen.begin(), seen.end());
  for (int row = 0; row < int(seen.size()); ++row) consistent = consistent && seen[row] == row;
  CHECK(consistent);  // a permutation of the rows
}

/// Ids that are unique within a token: `slots` of the experts, from a random one on with a random stride of 1 or 2.
std::vector<int> random_ids(int tokens, int slots, int experts) {
  std::vector<int> ids;
  const moe::Random random{std::uint64_t(tokens), std::uint64_t(experts)};
  for (int t = 0; t < tokens; ++t) {
    const auto block = random.bits(t);
    for (int slot = 0; slot < slots; ++slot) ids.push_back(int((block.word[0] + std::uint64_t(slot)) % experts));
    if (block.word[1] % 2 == 0) std::reverse(ids.end() - slots, ids.end());
  }
  return ids;
}

}  // namespace

TEST_CASE("Dropless sorts by expert, then by token, for every number of both", "[dispatch][dropless]") {
  for (const int tokens : {0, 1, 2, 33, 63, 64, 65, 222}) {
    for (const int experts : {1, 8, 60, 64, 160, 192, 256, 384, 512}) {
      for (const int slots : {1, 2, 8}) {
        if (slots > experts) continue;
        CAPTURE(tokens, experts, slots);
        check(random_ids(tokens, slots, experts), slots, experts);
      }
    }
  }
}

TEST_CASE("Dropless: every token to every expert", "[dispatch][dropless]") {
  for (const int experts : {1, 8, 60}) check(random_ids(65, experts, experts), experts, experts);
}

TEST_CASE("Dropless: all tokens to the same experts, the others empty", "[dispatch][dropless]") {
  for (const int chosen : {0, 3, 7}) {
    check(std::vector<int>(130, chosen), 1, 8);
    std::vector<int> ids;
    for (int t = 0; t < 130; ++t) ids.insert(ids.end(), {chosen, (chosen + 5) % 8});
    check(ids, 2, 8);
  }
}

TEST_CASE("Dropless: empty slots get no row", "[dispatch][dropless]") {
  auto ids = random_ids(70, 3, 9);
  for (std::size_t i = 0; i < ids.size(); i += 4) ids[i] = -1;
  check(ids, 3, 9);
  check(std::vector<int>(66, -1), 2, 9);
}

TEST_CASE("Dropless gives the same plan a hundred times", "[dispatch][dropless]") {
  const auto ids = random_ids(222, 4, 60);
  const auto gates = test::uniform<float>(1, 222 * 4);
  const Sorted first = sort(ids, gates, 4, 60);
  int equal = 0;
  for (int i = 0; i < 100; ++i) {
    const Sorted again = sort(ids, gates, 4, 60);
    equal += again.tokens == first.tokens && again.rows == first.rows && test::same_bits(again.gates, first.gates);
  }
  CHECK(equal == 100);
}
