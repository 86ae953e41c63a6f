#include <moe/core/trees.hpp>
#include <moe/io/checkpoint.hpp>
#include <moe/train/adamw.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <string>
#include <support/compare.hpp>
#include <support/parameters.hpp>
#include <support/scratch.hpp>
#include <support/tree.hpp>
#include <support/views.hpp>
#include <vector>

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

TEST_CASE("checkpoint: what is saved is loaded, buffers too", "[io][checkpoint]") {
  const test::Scratch scratch;
  const auto make = [] {
    test::Tree<float, moe::Panels> experts;
    experts.add("experts.gate_up", 3, {2, 13, 5});
    test::Tree<double> rest;
    rest.add("norm", 7, {.decay = false});
    rest.add("selection_bias", 3, {.trainable = false});
    return std::pair(experts, rest);
  };
  auto [experts, rest] = make();
  test::scatter(experts, 1), test::scatter(rest, 2);
  moe::save(scratch / "file", {{"step", "12"}}, experts, rest);
  auto [other, other_rest] = make();
  test::scatter(other, 3), test::scatter(other_rest, 4);
  moe::load(scratch / "file", other, other_rest);
  CHECK(test::values_of(other) == test::values_of(experts));
  CHECK(test::values_of(other_rest) == test::values_of(rest));
  CHECK(test::same_bits(test::to_host(other.tensors[0].storage), test::to_host(experts.tensors[0].storage)));

  const moe::SafetensorsReader file(scratch / "file");
  CHECK(file.metadata() == moe::Metadata{{"step", "12"}});
  // logical order, whatever the layout in memory
  CHECK(file.read<float>("experts.gate_up", {3, 2, 13, 5}) == moe::to_host(experts.tensors[0]));

  test::Tree<float> plain;
  plain.add("experts.gate_up", 3, {2, 13, 5});
  moe::load(scratch / "file", plain, other_rest);  // another engine's layout
  CHECK(test::values_of(plain) == test::values_of(experts));
}

TEST_CASE("checkpoint: the state of an optimiser", "[io][checkpoint]") {
  const test::Scratch scratch;
  const test::Exec exec;
  test::Tree<float, moe::Panels> p;
  p.add("weight", 2, {1, 9, 3});
  p.add("buffer", 4, {.trainable = false});
  auto g = p.gradients();
  test::scatter(p, 1), test::scatter(g, 2);
  const moe::AdamW adamw;
  auto state = adamw.state(exec, p, g);
  for (int i = 0; i < 3; ++i) adamw.step(exec, p, g, state);
  moe::save(scratch / "file", p, state);

  auto fresh = adamw.state(exec, p, g);
  moe::load(scratch / "file", p, fresh);
  CHECK(fresh.steps.value == 3);
  const auto &moments = state.of<float>()[0], &loaded = fresh.of<float>()[0];
  CHECK(test::same_bits(test::to_host(moments.first.storage), test::to_host(loaded.first.storage)));
  CHECK(test::same_bits(test::to_host(moments.second.storage), test::to_host(loaded.second.storage)));
  const moe::SafetensorsReader file(scratch / "file");
  CHECK(file.read<float>("adamw.first_moment.weight", {2, 1, 9, 3}) == moe::to_host(moments.first));
  CHECK(file.read<std::int64_t>("adamw.steps", {}) == std::vector<std::int64_t>{3});

  CHECK_THROWS_MATCHES(moe::load(scratch / "file", p), moe::Error,
                       MessageMatches(ContainsSubstring("'adamw.first_moment.weight', 'adamw.second_moment.weight', "
                                                        "'adamw.steps'; LoadOptions{.ignore_unknown = true}")));
  const auto before = test::values_of(p);
  test::scatter(p, 9);
  moe::load(scratch / "file", moe::LoadOptions{.ignore_unknown = true}, p);
  CHECK(test::values_of(p) == before);
}

TEST_CASE("checkpoint: a file of another model changes nothing", "[io][checkpoint]") {
  const test::Scratch scratch;
  test::Tree<float> p;
  p.add("a", 4), p.add("b", 2, {1, 3, 2});
  test::scatter(p);
  moe::save(scratch / "file", p);
  const auto check = [&](auto other, const std::string& sentence) {
    test::scatter(other, 5);
    const auto before = test::values_of(other);
    CHECK_THROWS_MATCHES(moe::load(scratch / "file", other), moe::Error, MessageMatches(ContainsSubstring(sentence)));
    CHECK(test::values_of(other) == before);
  };
  test::Tree<float> one, more, reshaped, twice;
  one.add("a", 4);
  more.add("a", 4), more.add("b", 2, {1, 3, 2}), more.add("c", 1);
  reshaped.add("a", 4), reshaped.add("b", 2, {1, 2, 3});
  twice.add("a", 4), twice.add("b", 2, {1, 3, 2}), twice.add("a", 4);
  test::Tree<double> wide;
  wide.add("a", 4), wide.add("b", 2, {1, 3, 2});
  check(one, "has tensors that are not asked for: 'b'");
  check(more, "has no tensor 'c'");
  check(reshaped, "tensor 'b': expected shape [2, 1, 2, 3], got [2, 1, 3, 2]");
  check(wide, "tensor 'a': expected dtype F64, got F32");
  check(twice, "two tensors are called 'a'");
  CHECK_THROWS_MATCHES(moe::save(scratch / "file", twice), moe::Error,
                       MessageMatches(ContainsSubstring("ParameterMaker(exec, seed).in(\"head\")")));
  CHECK_THROWS_MATCHES(moe::load(scratch / "missing", p), moe::Error,
                       MessageMatches(ContainsSubstring("No such file")));
  moe::load(scratch / "file", p);  // the file is as it was
}
