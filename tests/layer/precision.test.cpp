// The gradients in float are those in double, rounded: central differences can check the latter only.

#include <moe/moe.hpp>

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <string>
#include <support/compare.hpp>
#include <support/layers.hpp>
#include <support/parameters.hpp>
#include <vector>

namespace {

constexpr int hidden = 37, tokens = 70;

template <class T, class EngineT>
std::map<std::string, std::vector<double>> run(const moe::Precision<T>& precision, const EngineT& engine) {
  const moe::Layer layer{moe::Shape<>{.experts = 6, .hidden = hidden, .intermediate = 21},
                         moe::SigmoidTopK<3, moe::Normalise>(),
                         moe::SwiGlu(),
                         moe::Balance{moe::SwitchLoss{.weight = 0.5f}, moe::ZLoss{.weight = 0.5f}},
                         moe::Dropless(),
                         precision,
                         engine};
  auto p = layer.parameters(test::Exec());
  test::scatter(p);
  const auto x = test::uniform<float>(1, tokens * hidden), dy = test::uniform<float>(2, tokens * hidden);
  auto values = test::gradients(layer, p, x, dy);
  const auto outcome = test::forward(layer, p, x);
  values["y"] = test::cast<double>(outcome.y);
  values["losses"] = test::cast<double>(outcome.losses);
  return values;
}

}  // namespace

TEST_CASE("results and gradients in float are those in double, rounded", "[layer][precision]") {
  const auto exact = run(moe::Precision<double>(), moe::PortableTeams());
  const auto best = run(moe::Precision<float>(), moe::BestEngine());
  const auto portable = run(moe::Precision<float>(), moe::PortableTeams());
  for (const auto& [name, values] : exact) {
    CAPTURE(name);
    CHECK(test::error(best.at(name), values) < 2 * test::tolerance<float>);
    CHECK(test::error(portable.at(name), values) < 2 * test::tolerance<float>);
  }
}
