#include <moe/layer/block.hpp>
#include <moe/moe.hpp>

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <support/compare.hpp>
#include <support/layers.hpp>
#include <support/parameters.hpp>
#include <utility>
#include <vector>

namespace {

constexpr int hidden = 10, tokens = 7;

template <class T = float, class EngineT = moe::BestEngine>
auto make_layer(const EngineT& engine = {}, const moe::Precision<T>& precision = {}) {
  return moe::Layer{moe::Shape<>{.experts = 3, .hidden = hidden, .intermediate = 21},
                    moe::SigmoidTopK<2, moe::Keep, moe::SelectionBias>(),
                    moe::SwiGlu(),
                    moe::Balance{moe::SwitchLoss(), moe::LossFreeBias()},
                    moe::Dropless(),
                    precision,
                    engine};
}

template <class TreeT>
std::map<std::string, std::vector<int>> shapes(TreeT& tree) {
  std::map<std::string, std::vector<int>> result;
  moe::for_each_tensor([&](auto& tensor) { result[tensor.name] = tensor.shape; }, tree);
  return result;
}

}  // namespace

TEST_CASE("parameters: names and logical shapes, as in files", "[layer][block]") {
  using namespace moe;
  const test::Exec exec;
  const std::map<std::string, std::vector<int>> expected{{"router.weight", {3, 10}},
                                                         {"router.selection_bias", {3}},
                                                         {"experts.gate_up", {3, 2, 21, 10}},
                                                         {"experts.down", {3, 10, 21}}};
  auto best = make_layer().parameters(exec);
  auto portable = make_layer(PortableTeams()).parameters(exec);
  CHECK(shapes(best) == expected);
  CHECK(shapes(portable) == expected);

  auto gradients = make_layer().gradients(exec);  // without the buffer
  auto trainable = expected;
  trainable.erase("router.selection_bias");
  CHECK(shapes(gradients) == trainable);
  for (const auto& [name, values] : test::values_of(gradients)) CHECK(test::all_zero(values));

  using Biased = Router<LinearProjection<WithBias>, Softmax, TopK<1>, Keep>;
  auto plain = Layer{Shape<3, 10, 21>(), Biased(), Mlp<Gelu>()}.parameters(exec);
  CHECK(shapes(plain) == std::map<std::string, std::vector<int>>{{"router.weight", {3, 10}},
                                                                 {"router.bias", {3}},
                                                                 {"experts.up", {3, 21, 10}},
                                                                 {"experts.down", {3, 10, 21}}});
  CHECK(plain.router.bias.traits.trainable);
  CHECK_FALSE(plain.router.bias.traits.decay);
}

TEST_CASE("parameters: the same seed gives the same values whatever the layout; another one others", "[layer][block]") {
  const test::Exec exec;
  auto first = make_layer().parameters(exec, 5), second = make_layer().parameters(exec, 5);
  auto other = make_layer().parameters(exec, 6);
  auto portable = make_layer(moe::PortableTeams()).parameters(exec, 5);
  CHECK(test::values_of(first) == test::values_of(second));
  CHECK(test::values_of(first) == test::values_of(portable));
  const auto mine = test::values_of(first), others = test::values_of(other);
  CHECK(mine.at("router.weight") != others.at("router.weight"));
  CHECK(mine.at("experts.gate_up") != others.at("experts.gate_up"));
  CHECK(mine.at("experts.down") != others.at("experts.down"));
}

TEST_CASE("parameters: values depend on the name, so two layers of a chain differ", "[layer][block]") {
  const moe::Chain chain{make_layer(), make_layer()};
  auto p = chain.parameters(test::Exec(), 5);
  const auto values = test::values_of(p);
  CHECK(values.at("0.router.weight") != values.at("1.router.weight"));
  CHECK(values.at("0.experts.down") != values.at("1.experts.down"));
  std::set<double> distinct;
  for (const double value : values.at("0.experts.gate_up")) distinct.insert(value);
  CHECK(distinct.size() > values.at("0.experts.gate_up").size() * 9 / 10);
}

TEST_CASE("parameters: the distributions that are promised", "[layer][block]") {
  const moe::Layer layer{moe::Shape<>{.experts = 64, .hidden = 48, .intermediate = 20}, moe::SoftmaxTopK<2>(),
                         moe::SwiGlu()};
  auto p = layer.parameters(test::Exec(), 1);
  const auto values = test::values_of(p);
  const auto moments = [&](const std::string& name) {
    double sum = 0, squares = 0, largest = 0;
    for (const double v : values.at(name)) sum += v, squares += v * v, largest = std::max(largest, std::abs(v));
    const double n = double(values.at(name).size());
    return std::array{sum / n, std::sqrt(squares / n), largest};
  };
  const auto [router_mean, router_deviation, router_largest] = moments("router.weight");  // normal 0.02, of 3072
  CHECK(std::abs(router_mean) < 0.02 * 4 / std::sqrt(3072.0));
  CHECK(std::abs(router_deviation / 0.02 - 1) < 0.06);
  CHECK(router_largest > 0.05);
  for (const auto& [name, fan_in] : {std::pair("experts.gate_up", 48), std::pair("experts.down", 20)}) {
    CAPTURE(name);
    const auto [mean, deviation, largest] = moments(name);
    const double bound = 1 / std::sqrt(double(fan_in));
    CHECK(largest <= bound);
    CHECK(largest > 0.99 * bound);
    CHECK(std::abs(mean) < 0.01 * bound);
    CHECK(std::abs(deviation * std::sqrt(3.0) / bound - 1) < 0.01);
  }
}

TEST_CASE("parameters: to_host and assign are inverse, and padding stays zero", "[layer][block]") {
  const auto layer = make_layer();
  const test::Exec exec;
  auto p = layer.parameters(exec);
  const auto padding_is_zero = [](auto& tree) {
    bool zero = true;
    moe::for_each_tensor(
        [&](auto& tensor) {  // the storage holds no more than the logical elements and zeros
          double stored = 0, logical = 0;
          for (const auto v : test::to_host(tensor.storage)) stored += v != 0;
          for (const auto v : moe::to_host(tensor)) logical += v != 0;
          zero = zero && stored == logical;
        },
        tree);
    return zero;
  };
  CHECK(padding_is_zero(p));
  test::scatter(p);
  CHECK(padding_is_zero(p));
  const auto before = test::values_of(p);
  moe::for_each_tensor([](auto& tensor) { moe::assign(tensor, moe::to_host(tensor)); }, p);
  CHECK(test::values_of(p) == before);

  auto g = layer.gradients(exec);
  auto workspace = layer.workspace(exec, tokens);
  auto tape = layer.tape(exec, tokens);
  const auto x = test::rows<float>(test::uniform(1, tokens * hidden), tokens, hidden);
  const auto y = test::rows<float>(tokens, hidden), dx = test::rows<float>(tokens, hidden);
  layer.forward(exec, p, x, y, tape, workspace);
  for (const bool accumulate : {false, true}) {
    layer.backward(exec, p, tape, x, dx, g, workspace, {.accumulate = accumulate});
    CHECK(padding_is_zero(g));
  }
}

TEST_CASE("workspace and tape on memory of the caller's", "[layer][block]") {
  const auto layer = make_layer();
  const test::Exec exec;
  auto p = layer.parameters(exec);
  test::scatter(p);
  using Bytes = Kokkos::View<std::byte*, test::Memory>;
  const auto x = test::uniform<float>(1, tokens * hidden), dy = test::uniform<float>(2, tokens * hidden);
  const auto expected = test::forward(layer, p, x);
  auto gradients = test::gradients(layer, p, x, dy);

  for (const std::size_t shift : {0, 1, 64, 127}) {  // wherever it begins, whatever it holds
    CAPTURE(shift);
    const Bytes a("a", layer.workspace_bytes(exec, tokens) + shift), b("b", layer.tape_bytes(exec, tokens) + shift);
    Kokkos::deep_copy(a, std::byte(0xff));
    Kokkos::deep_copy(b, std::byte(0xff));
    auto workspace = layer.workspace(exec, tokens, Bytes(Kokkos::subview(a, std::pair(shift, a.size()))));
    auto tape = layer.tape(exec, tokens, Bytes(Kokkos::subview(b, std::pair(shift, b.size()))));
    auto g = layer.gradients(exec);
    const auto y = test::rows<float>(tokens, hidden), dx = test::rows<float>(tokens, hidden);
    const auto in = test::rows<float>(x, tokens, hidden);  // the tape refers to it
    layer.forward(exec, p, in, y, tape, workspace);
    layer.backward(exec, p, tape, test::rows<float>(dy, tokens, hidden), dx, g, workspace);
    CHECK(test::same_bits(test::to_host(y), expected.y));
    CHECK(test::to_host(tape.load) == expected.load);
    CHECK(test::same_bits(test::cast<double>(test::to_host(dx)), gradients.at("x")));
    for (const auto& [name, values] : test::values_of(g)) CHECK(test::same_bits(values, gradients.at(name)));
  }
}

TEST_CASE("bytes grow with the tokens, and room for none is little", "[layer][block]") {
  const auto layer = make_layer();
  const test::Exec exec;
  CHECK(layer.workspace_bytes(exec, 0) < layer.workspace_bytes(exec, 100));
  CHECK(layer.workspace_bytes(exec, 100) < layer.workspace_bytes(exec, 200));
  CHECK(layer.tape_bytes(exec, 0) < 4096);
  CHECK(layer.tape_bytes(exec, 100) < layer.tape_bytes(exec, 200));
}
