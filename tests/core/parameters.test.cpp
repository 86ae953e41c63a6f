#include <moe/core/parameters.hpp>
#include <moe/core/trees.hpp>

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <support/compare.hpp>
#include <support/parameters.hpp>
#include <support/views.hpp>
#include <vector>

namespace {

using Maker = moe::ParameterMaker<test::Exec>;
using Gradients = moe::GradientMaker<test::Exec>;
using Tensor = moe::Tensor<float, test::Memory>;

struct Tree {
  Tensor a, b, c;
  template <class F, class... TreesT>
  static void for_each(F&& f, TreesT&... trees) {
    f(trees.a...);
    f(trees.b...);
    f(trees.c...);
  }
};

template <class MakerT>
Tree make(const MakerT& maker) {
  return {maker.template make<float, moe::RowMajor>({"a", {4}, 1, {1, 4, 1}}, moe::Normal{1}),
          maker.template make<float, moe::RowMajor>({"b", {4}, 1, {1, 4, 1}, {.trainable = false}}, moe::Ones{}),
          maker.template make<float, moe::RowMajor>({"c", {4}, 1, {1, 4, 1}}, moe::Zeros{})};
}

}  // namespace

TEST_CASE("a maker puts its path in front of names", "[core][parameters]") {
  const auto tree = make(Maker(test::Exec(), 1).in("0").in("router"));
  CHECK(tree.a.name == "0.router.a");
  CHECK(make(Gradients(test::Exec()).in("0")).a.name == "0.a");
}

TEST_CASE("initial values are a function of seed and name", "[core][parameters]") {
  const auto values = [](const Maker& maker) { return moe::to_host(make(maker).a); };
  const test::Exec exec;
  CHECK(values(Maker(exec, 1)) == values(Maker(exec, 1)));
  CHECK(values(Maker(exec, 1)) != values(Maker(exec, 2)));
  CHECK(values(Maker(exec, 1)) != values(Maker(exec, 1).in("x")));
  CHECK(moe::to_host(make(Maker(exec, 1)).b) == std::vector<float>(4, 1.0f));
  CHECK(moe::to_host(make(Maker(exec, 1)).c) == std::vector<float>(4, 0.0f));
  // the numbers of the stream of the name, by logical position
  const moe::Random random{1, moe::stream_of("a")};
  std::vector<float> expected;
  for (int i = 0; i < 4; ++i) expected.push_back(random.normal<float>(i));
  CHECK(test::error(values(Maker(exec, 1)), expected) < 1e-6);
}

TEST_CASE("gradients are zeros for what is trainable, and nothing for a buffer", "[core][parameters]") {
  const auto g = make(Gradients(test::Exec()));
  CHECK(test::all_zero(moe::to_host(g.a)));
  CHECK(g.b.empty());
  CHECK(g.c.size() == 4);
}

TEST_CASE("for_each_tensor walks trees together, over the tensors that all of them hold", "[core][parameters]") {
  auto p = make(Maker(test::Exec(), 1));
  auto g = make(Gradients(test::Exec()));
  std::vector<std::string> names;
  const auto collect = [&](const auto& first, const auto&...) { names.push_back(first.name); };
  moe::for_each_tensor(collect, p);
  CHECK(names == std::vector<std::string>{"a", "b", "c"});
  names.clear();
  moe::for_each_tensor(collect, p, g);
  CHECK(names == std::vector<std::string>{"a", "c"});
  names.clear();
  moe::for_each_tensor(collect, g);
  CHECK(names == std::vector<std::string>{"a", "c"});
  names.clear();
  g.c = {};  // frozen
  moe::for_each_tensor(collect, p, g, p);
  CHECK(names == std::vector<std::string>{"a"});
  names.clear();
  moe::NoParameters none;
  moe::for_each_tensor(collect, none);
  CHECK(names.empty());
}

TEST_CASE("trees are one tree that refers to the same elements", "[core][parameters]") {
  auto a = make(Maker(test::Exec(), 1).in("head")), b = make(Maker(test::Exec(), 1).in("body"));
  auto both = moe::trees(a, b);
  std::vector<std::string> names;
  moe::for_each_tensor([&](auto& tensor) { names.push_back(tensor.name); }, both);
  CHECK(names == std::vector<std::string>{"head.a", "head.b", "head.c", "body.a", "body.b", "body.c"});
  moe::assign(a.c, {1, 2, 3, 4});
  CHECK(moe::to_host(std::get<0>(both.parts).c) == std::vector<float>{1, 2, 3, 4});
}
