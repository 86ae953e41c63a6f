// A whole step at the sizes where other libraries break, against the reference.

#include <moe/moe.hpp>

#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <reference/layer.hpp>
#include <support/compare.hpp>
#include <support/layers.hpp>
#include <support/parameters.hpp>
#include <vector>

TEST_CASE("every number of experts, tokens and choices", "[layer][sizes]") {
  constexpr int hidden = 5, intermediate = 3;
  for (const int experts : {1, 8, 60, 64, 160, 192, 256, 384, 512}) {
    for (const int k : {1, 6, experts}) {
      if (k > experts || (k == experts && experts > 64)) continue;
      const moe::Layer layer{moe::Shape<>{.experts = experts, .hidden = hidden, .intermediate = intermediate},
                             moe::SoftmaxTopK<moe::dynamic>{.select = {.k = k}},
                             moe::SwiGlu(),
                             moe::SwitchLoss(),
                             moe::Dropless(),
                             moe::Precision<double>(),
                             moe::BestEngine()};
      auto p = layer.parameters(test::Exec());
      test::scatter(p);
      const reference::Router router{.weight = test::doubles(p.router.weight), .k = k};
      const reference::Experts kinds{test::doubles(p.experts.in), test::doubles(p.experts.down), experts, true,
                                     reference::silu};
      for (const int tokens : {1, 2, 33, 63, 64, 65, 222}) {
        CAPTURE(experts, k, tokens);
        const auto x = test::uniform(tokens, tokens * hidden);
        const auto expected = router(x, hidden);
        const auto outcome = test::forward(layer, p, x);
        CHECK(outcome.ids == expected.ids);
        CHECK(test::error(outcome.y, reference::combine(x, hidden, expected, kinds)) < 1e-12);
        CHECK(outcome.offsets.back() == tokens * k);
        CHECK(outcome.dropped == 0);
      }
    }
  }
}
