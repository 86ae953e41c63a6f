#include <moe/moe.hpp>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_message.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <support/compare.hpp>
#include <support/parameters.hpp>
#include <support/tree.hpp>
#include <support/views.hpp>
#include <type_traits>
#include <vector>

namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using test::Exec;

template <class TreeT>
void add_tensors(TreeT& tree) {
  tree.add("experts.gate_up", 3, {2, 13, 65});
  tree.add("experts.down", 3, {1, 65, 13});
  tree.add("bias", 7);
}

/// Normal numbers.
template <class TreeT>
void normal(TreeT& tree) {
  moe::for_each_tensor(
      [](auto& tensor) {
        using T = typename std::decay_t<decltype(tensor)>::value_type;
        const auto u = test::uniform(moe::stream_of(tensor.name), 2 * tensor.size());
        std::vector<T> values;
        for (std::int64_t i = 0; i < tensor.size(); ++i) {
          const double radius = std::sqrt(-2 * std::log((u[2 * i] + 1) / 2 + 1e-12));
          values.push_back(T(0.02 * radius * std::cos(3.14159265358979 * u[2 * i + 1])));
        }
        moe::assign(tensor, values);
      },
      tree);
}

/// What assign() makes of the same numbers.
template <class T, class LayoutT, class FromT>
std::map<std::string, std::vector<double>> assigned(const FromT& from) {
  test::Tree<T, LayoutT> tree;
  add_tensors(tree);
  moe::for_each_tensor(
      [](const auto& a, const auto& b) {
        moe::assign(b, test::cast<moe::element_value<T>>(test::cast<float>(moe::to_host(a))));
      },
      from, tree);
  return test::values_of(tree);
}

template <class T, class FromLayoutT, class ToLayoutT>
void check_tree() {
  test::Tree<float, FromLayoutT> from;
  test::Tree<T, ToLayoutT> to;
  add_tensors(from), add_tensors(to);
  normal(from);
  moe::quantise(Exec(), from, to);
  CHECK(test::values_of(to) == assigned<T, ToLayoutT>(from));
  test::Tree<T, FromLayoutT> again;
  add_tensors(again);
  moe::quantise(Exec(), to, again);  // equal types: a copy
  CHECK(test::values_of(again) == test::values_of(to));
}

/// The most that the codes may lose of normal weights, relative to their root mean square.
template <class T>
constexpr double most = std::is_same_v<T, moe::mxfp4>      ? 0.13
                        : std::is_same_v<T, moe::int4>     ? 0.10
                        : std::is_same_v<T, moe::int8>     ? 0.01
                        : std::is_same_v<T, moe::bfloat16> ? 0.003
                                                           : 0.0004;

}  // namespace

TEMPLATE_TEST_CASE("quantise: a tree of any layout into any other", "[transform][quantise]", moe::bfloat16, moe::half,
                   moe::int8, moe::int4, moe::mxfp4, float) {
  check_tree<TestType, moe::Panels, moe::Panels>();
  check_tree<TestType, moe::Panels, moe::RowMajor>();
  check_tree<TestType, moe::RowMajor, moe::Panels>();
  check_tree<TestType, moe::RowMajor, moe::RowMajor>();
}

TEMPLATE_TEST_CASE("quantise: the error of normal weights, and what its figures are", "[transform][quantise]",
                   moe::bfloat16, moe::half, moe::int8, moe::int4, moe::mxfp4) {
  test::Tree<float, moe::Panels> from;
  test::Tree<TestType, moe::Panels> to;
  const auto add = [](auto& tree) {
    tree.add("a", 2, {2, 64, 256});
    tree.add("b", 1, {1, 32, 300});
  };
  add(from), add(to);
  normal(from);
  moe::quantise(Exec(), from, to);
  const auto errors = moe::quantisation_error(Exec(), from, to);
  REQUIRE(errors.size() == 2);
  double all_squares = 0, all_lost = 0, all_largest = 0, all_bits = 0;
  for (int t = 0; t < 2; ++t) {
    const auto w = moe::to_host(from.tensors[t]);
    const auto v = moe::to_host(to.tensors[t]);
    double squares = 0, lost = 0, largest = 0;
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double d = double(float(v[i])) - double(w[i]);
      squares += double(w[i]) * double(w[i]), lost += d * d, largest = std::max(largest, std::abs(d));
    }
    const double n = double(w.size()), rms = std::sqrt(squares / n);
    CHECK(errors[t].name == from.tensors[t].name);
    CHECK(errors[t].weights == std::int64_t(w.size()));
    CHECK(errors[t].rms == Catch::Approx(rms));
    CHECK(errors[t].relative_rms == Catch::Approx(std::sqrt(lost / n) / rms));
    CHECK(errors[t].relative_max == Catch::Approx(largest / rms));
    CHECK(errors[t].bits_per_weight == Catch::Approx(8.0 * sizeof(TestType) * to.tensors[t].storage.size() / n));
    CHECK(errors[t].relative_rms < most<TestType>);
    CHECK(errors[t].relative_rms > most<TestType> / 4);
    all_squares += squares, all_lost += lost, all_largest = std::max(all_largest, largest);
    all_bits += n * errors[t].bits_per_weight;
  }
  const auto all = moe::overall(errors);
  const double n = double(all.weights);
  CHECK(all.weights == 2 * 2 * 64 * 256 + 32 * 300);
  CHECK(all.bits_per_weight == Catch::Approx(all_bits / n));
  CHECK(all.relative_rms == Catch::Approx(std::sqrt(all_lost / all_squares)));
  CHECK(all.relative_max == Catch::Approx(all_largest / std::sqrt(all_squares / n)));

  const auto again = moe::quantisation_error(Exec(), from, to);
  for (int t = 0; t < 2; ++t) CHECK(again[t].relative_rms == errors[t].relative_rms);  // the same bits
  const auto none = moe::overall(moe::quantisation_error(Exec(), to, to));
  CHECK(none.relative_rms == 0);
  CHECK(none.relative_max == 0);
}

TEST_CASE("quantise: bits of a weight", "[transform][quantise]") {
  const auto bits = []<class T>(T) {
    test::Tree<T, moe::Panels> tree;
    tree.add("w", 2, {2, 64, 1024});
    return moe::quantisation_error(Exec(), tree, tree)[0].bits_per_weight;
  };
  CHECK(bits(moe::int8{}) == 8 + 32.0 / 1024);
  CHECK(bits(moe::int4{}) == 4.5);
  CHECK(bits(moe::mxfp4{}) == 4.25);
  CHECK(bits(moe::half{}) == 16);
  CHECK(bits(0.0f) == 32);
}

TEST_CASE("quantise: what is not finite is NaN, and the error too", "[transform][quantise]") {
  test::Tree<float> from;
  test::Tree<moe::int4> to;
  from.add("w", 1, {1, 2, 96}), to.add("w", 1, {1, 2, 96});
  auto values = std::vector<float>(192, 0.5f);
  values[40] = std::numeric_limits<float>::infinity();
  moe::assign(from.tensors[0], values);
  moe::quantise(Exec(), from, to);
  const auto got = moe::to_host(to.tensors[0]);
  for (int i = 0; i < 192; ++i) CHECK(std::isnan(got[i]) == (i >= 32 && i < 64));
  const auto error = moe::quantisation_error(Exec(), from, to)[0];
  CHECK(std::isnan(error.relative_rms));
  CHECK(std::isnan(error.relative_max));
  CHECK(std::isnan(moe::overall({error}).relative_max));
}

TEST_CASE("quantise: trees of other tensors are told, and change nothing", "[transform][quantise]") {
  test::Tree<float> from;
  from.add("a", 4), from.add("b", 2, {1, 3, 40});
  normal(from);
  const auto refuses = [&](auto to, const std::string& sentence) {
    const auto before = test::values_of(to);
    CHECK_THROWS_MATCHES(moe::quantise(Exec(), from, to), moe::Error, MessageMatches(ContainsSubstring(sentence)));
    CHECK_THROWS_MATCHES(moe::quantisation_error(Exec(), from, to), moe::Error,
                         MessageMatches(ContainsSubstring(sentence)));
    CHECK(test::values_of(to) == before);
  };
  test::Tree<moe::int8> renamed, reshaped, lacking;
  renamed.add("a", 4), renamed.add("c", 2, {1, 3, 40});
  reshaped.add("a", 4), reshaped.add("b", 2, {1, 40, 3});
  lacking.add("a", 4), lacking.tensors.emplace_back();
  refuses(renamed, ": expected a tensor 'b', got 'c'");
  refuses(reshaped, ": tensor 'b': expected shape [2, 1, 3, 40], got [2, 1, 40, 3]");
  refuses(lacking, ": the second tree has no tensor 'b'");
}

TEST_CASE("quantised: the same block, whose experts are of another type, whatever is around them",
          "[transform][quantise]") {
  const Exec exec;
  const int hidden = 24;
  const moe::Layer layer{moe::Shape<>{.experts = 4, .hidden = hidden, .intermediate = 40},
                         moe::SigmoidTopK<2, moe::Normalise, moe::SelectionBias>{}, moe::SwiGlu{},
                         moe::LossFreeBias{.rate = 0.25f}};
  const moe::SoftMixture soft{moe::Shape<3, 24, 20>{}, moe::Mlp<moe::Gelu>{}, moe::SoftSlots{.per_expert = 2}};
  const moe::Chain model{moe::Residual{moe::Chain{moe::RmsNorm{hidden}, layer}}, moe::Shared{layer, moe::SwiGlu{}, 16},
                         moe::TokenSkip{layer, moe::SkipOptions{.capacity = 0.5}}, soft, moe::Linear{hidden, hidden}};
  const auto small = moe::quantised<moe::int8>(model);
  auto parameters = model.parameters(exec, 1);
  test::scatter(parameters);
  const auto weights = small.parameters(exec, 2);
  moe::quantise(exec, parameters, weights);

  int coded = 0;
  moe::for_each_tensor(
      [&](const auto& a, const auto& b) {
        constexpr bool is_coded = std::is_same_v<typename std::decay_t<decltype(b)>::value_type, moe::int8>;
        coded += is_coded;
        const bool is_expert = a.name.find("experts.") != std::string::npos;
        CAPTURE(a.name);
        CHECK(is_coded == is_expert);
        CHECK((test::cast<float>(moe::to_host(a)) == test::cast<float>(moe::to_host(b))) == !is_coded);
      },
      parameters, weights);
  CHECK(coded == 8);
  CHECK(moe::quantised<moe::int4>(layer).balancer().rate == 0.25f);

  // The outputs are near, and not the same.
  const auto x = test::rows<float>(test::uniform(3, 10 * hidden), 10, hidden);
  const auto y = test::rows<float>(10, hidden), z = test::rows<float>(10, hidden);
  auto workspace = model.workspace(exec, 10);
  auto small_workspace = small.workspace(exec, 10);
  model.forward(exec, parameters, x, y, workspace);
  small.forward(exec, weights, x, z, small_workspace);
  const double error = test::error(test::to_host(z), test::to_host(y));
  CHECK(error > 1e-5);
  CHECK(error < 0.1);
}
