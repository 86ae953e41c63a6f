// The portable engine against loops, bit by bit: each result is one chain of fused multiply-adds in a given order.

#include <moe/gemm/portable.hpp>

#include <algorithm>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <moe/core/arena.hpp>
#include <moe/core/parameters.hpp>
#include <moe/gemm/epilogue.hpp>
#include <numeric>
#include <reference/products.hpp>
#include <string>
#include <support/compare.hpp>
#include <support/parameters.hpp>
#include <support/views.hpp>
#include <utility>
#include <vector>

namespace {

/// out[row, part, column] = sum, and how often each was written
template <class T, int PartsV>
struct StoreParts {
  static constexpr int parts = PartsV;
  static constexpr bool row_dot = false;
  T* out;
  int* visits;
  int columns;
  template <class V>
  MOE_INLINE void operator()(int, int row, int column, const V* sum) const {
    for (int p = 0; p < parts; ++p) {
      out[(row * parts + p) * columns + column] = sum[p];
      ++visits[(row * parts + p) * columns + column];
    }
  }
};

/// Partial dot products of the results with `other`.
template <class T>
struct DotRows {
  static constexpr int parts = 1;
  static constexpr bool row_dot = true;
  const T* other;
  T* dots;
  int columns, groups;
  template <class V>
  MOE_INLINE V operator()(int, int row, int column, const V* sum) const {
    return sum[0] * other[row * columns + column];
  }
  MOE_INLINE void partial(int row, int group, T sum) const { dots[row * groups + group] = sum; }
};

/// One problem: rows that are gathered and scaled, matrices of all experts, in the type of the test.
template <class T, int PartsV>
struct Problem {
  using Engine = moe::PortableEngine<test::Exec, T>;

  std::vector<int> offsets;
  int out, in;
  int experts = int(offsets.size()) - 1, rows = offsets.back(), tokens = rows / 2 + 1, max_rows = rows + 5;
  std::vector<int> token_of = [this] {
    std::vector<int> tokens_of(max_rows, 0);
    for (int r = 0; r < rows; ++r) tokens_of[r] = r * 5 % tokens;
    return tokens_of;
  }();
  std::vector<T> scale = test::cast<T>(test::uniform<T>(1, max_rows));
  std::vector<T> x = test::cast<T>(test::uniform<T>(2, tokens* in));
  std::vector<T> delta = test::cast<T>(test::uniform<T>(3, tokens* PartsV* out));

  test::Exec exec{};
  Engine engine = [this] {
    moe::Arena<test::Memory> arena;
    return Engine(exec, arena, {experts, max_rows, std::max(out, in) * PartsV});
  }();
  moe::Tensor<T, test::Memory> weight{exec, "weight", {}, experts, {PartsV, out, in}};
  moe::Tensor<T, test::Memory> d_weight{exec, "d_weight", {}, experts, {PartsV, out, in}};
  test::Numbers<int> offsets_view = test::numbers<int>(offsets), index_view = test::numbers<int>(token_of);
  test::Numbers<T> scale_view = test::numbers<T>(scale), x_view = test::numbers<T>(x),
                   delta_view = test::numbers<T>(delta);

  Problem(std::vector<int> offsets_, int out_, int in_) : offsets(std::move(offsets_)), out(out_), in(in_) {
    moe::assign(weight, test::cast<T>(test::uniform<T>(4, weight.size())));
    moe::assign(d_weight, test::cast<T>(test::uniform<T>(5, weight.size())));
  }

  moe::Segments segments() const { return {offsets_view.data(), experts, max_rows}; }
  moe::RowSource<T> source() const {
    return {.data = x_view.data(), .stride = in, .index = index_view.data(), .scale = scale_view.data()};
  }
  moe::RowSource<T> deltas() const {
    return {.data = delta_view.data(),
            .stride = PartsV * out,
            .part_stride = out,
            .index = index_view.data(),
            .scale = scale_view.data()};
  }

  reference::Products<T> products() const {
    reference::Products<T> products{experts, PartsV, out, in, {}, test::slice(scale, 0, rows)};
    for (int e = 0; e < experts; ++e) products.expert.insert(products.expert.end(), offsets[e + 1] - offsets[e], e);
    return products;
  }
  std::vector<T> gathered(const std::vector<T>& from, int width) const {
    std::vector<T> result;
    for (int r = 0; r < rows; ++r) {
      result.insert(result.end(), from.begin() + token_of[r] * width, from.begin() + (token_of[r] + 1) * width);
    }
    return result;
  }
};

template <class T, int PartsV>
void check(const std::vector<int>& offsets, int out, int in) {
  CAPTURE(offsets, out, in);
  const Problem<T, PartsV> problem(offsets, out, in);
  const auto products = problem.products();
  const auto x = problem.gathered(problem.x, in), dy = problem.gathered(problem.delta, PartsV * out);
  const auto w = moe::to_host(problem.weight);
  const std::string label = "test";

  const test::Numbers<T> y("y", problem.rows * PartsV * out), dx("dx", problem.rows * in);
  const test::Numbers<int> visits("visits", y.size()), visits_back("visits", dx.size());
  problem.engine.forward(problem.exec, label, problem.segments(), problem.source(), problem.weight.weights(),
                         StoreParts<T, PartsV>{y.data(), visits.data(), out});
  CHECK(test::same_bits(test::to_host(y), products.forward(x, w)));
  CHECK(test::to_host(visits) == std::vector<int>(y.size(), 1));

  problem.engine.backward_rows(problem.exec, label, problem.segments(), problem.deltas(), problem.weight.weights(),
                               StoreParts<T, 1>{dx.data(), visits_back.data(), in});
  CHECK(test::same_bits(test::to_host(dx), products.backward_rows(dy, w)));
  CHECK(test::to_host(visits_back) == std::vector<int>(dx.size(), 1));

  // x with no scale: the gate is in dy alone
  auto plain = problem.source();
  plain.scale = nullptr;
  const auto before = moe::to_host(problem.d_weight);
  const std::vector<T> zeros(before.size(), T(0));
  problem.engine.backward_weights(problem.exec, label, problem.segments(), problem.deltas(), plain,
                                  problem.d_weight.mutable_weights(), true);
  CHECK(test::same_bits(moe::to_host(problem.d_weight), products.backward_weights(dy, x, before)));
  problem.engine.backward_weights(problem.exec, label, problem.segments(), problem.deltas(), plain,
                                  problem.d_weight.mutable_weights(), false);
  CHECK(test::same_bits(moe::to_host(problem.d_weight), products.backward_weights(dy, x, zeros)));
}

}  // namespace

TEMPLATE_TEST_CASE("portable products are chains of fused multiply-adds, bit by bit", "[gemm][portable]", float,
                   double) {
  using T = TestType;
  for (const auto& offsets : std::vector<std::vector<int>>{
           {0, 1}, {0, 0, 3}, {0, 16, 16, 33}, {0, 0, 0, 17, 18}, {0, 2, 4, 6, 8, 10, 12}, {0, 0, 0}}) {
    check<T, 1>(offsets, 1, 1);
    check<T, 1>(offsets, 65, 17);
    check<T, 2>(offsets, 16, 33);
    check<T, 2>(offsets, 63, 70);
  }
}

TEST_CASE("portable products: the partial dot products of a row are those of 16 columns each", "[gemm][portable]") {
  constexpr int in = 70, groups = 5;
  const Problem<float, 1> problem({0, 5, 5, 22}, 9, in);
  const auto other = test::cast<float>(test::uniform<float>(9, problem.rows * in));
  const auto other_view = test::numbers<float>(other);
  const test::Numbers<float> dots("dots", problem.rows * groups);
  const std::string label = "test";
  problem.engine.backward_rows(problem.exec, label, problem.segments(), problem.deltas(), problem.weight.weights(),
                               DotRows<float>{other_view.data(), dots.data(), in, groups});
  const auto dx = problem.products().backward_rows(problem.gathered(problem.delta, 9), moe::to_host(problem.weight));
  std::vector<double> expected;
  for (int r = 0; r < problem.rows; ++r) {
    for (int group = 0; group < groups; ++group) {
      double dot = 0;
      for (int d = group * 16; d < std::min(in, group * 16 + 16); ++d)
        dot += double(dx[r * in + d]) * other[r * in + d];
      expected.push_back(dot);
    }
  }
  CHECK(test::error(test::to_host(dots), expected) < test::tolerance<float>);
}

TEST_CASE("portable products: an expert without a gradient's matrix is left out", "[gemm][portable]") {
  const Problem<double, 1> problem({0, 3, 7}, 4, 5);
  Kokkos::View<moe::Pointer<double>*, test::Memory> pointers("pointers", 2);
  const auto host = Kokkos::create_mirror_view(pointers);
  host(1).address = problem.d_weight.storage.data() + 20;  // host(0) stays null
  Kokkos::deep_copy(pointers, host);
  const auto before = moe::to_host(problem.d_weight);
  const std::string label = "test";
  auto plain = problem.source();
  plain.scale = nullptr;
  problem.engine.backward_weights(problem.exec, label, problem.segments(), problem.deltas(), plain,
                                  moe::Weights<double>{pointers.data(), {1, 4, 5}}, false);
  const auto after = moe::to_host(problem.d_weight);
  CHECK(test::slice(after, 0, 20) == test::slice(before, 0, 20));
  CHECK(test::slice(after, 20, 20) != test::slice(before, 20, 20));
}

TEST_CASE("portable products: without offsets, one segment of all rows", "[gemm][portable]") {
  const Problem<double, 1> problem({0, 7}, 4, 5);
  const test::Numbers<double> y("y", 7 * 4);
  const test::Numbers<int> visits("visits", y.size());
  const std::string label = "test";
  problem.engine.forward(problem.exec, label, moe::Segments{.max_rows = 7}, problem.source(), problem.weight.weights(),
                         StoreParts<double, 1>{y.data(), visits.data(), 4});
  CHECK(test::same_bits(test::to_host(y),
                        problem.products().forward(problem.gathered(problem.x, 5), moe::to_host(problem.weight))));
}
