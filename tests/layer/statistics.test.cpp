// What stands on the tape after forward: losses, load, tokens, what was dropped, what was not finite, the entropy; and
// what update does.

#include <moe/moe.hpp>

#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <reference/balancer.hpp>
#include <string>
#include <support/compare.hpp>
#include <support/layers.hpp>
#include <support/parameters.hpp>
#include <vector>

namespace {

constexpr int experts = 5, hidden = 7;

auto make_layer() {
  return moe::Layer{moe::Shape<>{.experts = experts, .hidden = hidden, .intermediate = 4},
                    moe::SigmoidTopK<2, moe::Keep, moe::SelectionBias>(),
                    moe::SwiGlu(),
                    moe::Balance{moe::SwitchLoss(), moe::LossFreeBias{.rate = 0.25f}},
                    moe::Dropless(),
                    moe::Precision<double>(),
                    moe::BestEngine()};
}

/// Dropless, but for the last row.
struct DropsLastRow : moe::Dropless {
  template <class TypesT, class WorkspaceT>
  void plan(const moe::Context<TypesT>& context, const moe::Routing<TypesT>& routing, const moe::Plan<TypesT>& plan,
            const WorkspaceT& workspace) const;
};

template <class PlanT>
struct DropLastRow {
  PlanT plan;
  KOKKOS_FUNCTION void operator()(int) const {
    const int last = plan.offsets(plan.offsets.extent(0) - 1) - 1;
    if (last < 0) return;
    for (std::size_t e = 0; e < plan.offsets.extent(0); ++e) plan.offsets(e) = Kokkos::min(plan.offsets(e), last);
    for (std::size_t t = 0; t < plan.rows.extent(0); ++t) {
      for (std::size_t slot = 0; slot < plan.rows.extent(1); ++slot) {
        if (plan.rows(t, slot) == last) plan.rows(t, slot) = -1;
      }
    }
  }
};

template <class TypesT, class WorkspaceT>
void DropsLastRow::plan(const moe::Context<TypesT>& context, const moe::Routing<TypesT>& routing,
                        const moe::Plan<TypesT>& plan, const WorkspaceT& workspace) const {
  moe::Dropless::plan(context, routing, plan, workspace);
  Kokkos::parallel_for("drop", Kokkos::RangePolicy<typename TypesT::exec>(context.exec, 0, 1),
                       DropLastRow<moe::Plan<TypesT>>{plan});
}

struct Statistics {
  std::vector<int> load;
  int dropped, non_finite, tokens;
  double entropy;
};

template <class TapeT>
Statistics statistics(const TapeT& tape) {
  return {test::to_host(tape.load), test::to_host(tape.dropped)[0], test::to_host(tape.non_finite)[0],
          test::to_host(tape.tokens)[0], double(test::to_host(tape.entropy)[0])};
}

/// A layer with its parameters, tape and workspace, that is fed batch after batch.
template <class LayerT>
struct Fed {
  LayerT layer;
  test::Exec exec{};
  decltype(layer.parameters(exec)) p = layer.parameters(exec);
  decltype(layer.tape(exec, 1)) tape = layer.tape(exec, 80);
  decltype(layer.workspace(exec, 1)) workspace = layer.workspace(exec, 80);

  explicit Fed(const LayerT& layer_) : layer(layer_) { test::scatter(p); }

  /// Returns the scores of the batch, row by row.
  std::vector<double> feed(const std::vector<double>& x) {
    const int n = int(x.size()) / hidden;
    layer.forward(exec, p, test::rows<double>(x, n, hidden), test::rows<double>(n, hidden), tape, workspace);
    return test::read(layer, tape, n).scores;
  }
  void feed(const std::vector<double>& x, const std::vector<int>& mask) {
    const int n = int(mask.size());
    const auto in = test::rows<double>(x, n, hidden);
    layer.forward(exec, p, moe::inputs(in, moe::Padding{test::numbers<int>(mask)}), test::rows<double>(n, hidden), tape,
                  workspace);
  }
};

template <class RouterT, class DispatcherT = moe::Dropless>
auto fed(const RouterT& router, int num_experts = experts) {
  return Fed(moe::Layer{moe::Shape<>{.experts = num_experts, .hidden = hidden, .intermediate = 4}, router,
                        moe::SwiGlu(), moe::NoBalance(), DispatcherT(), moe::Precision<double>()});
}

}  // namespace

TEST_CASE("load adds up over micro-batches, and update starts it again", "[layer][statistics]") {
  const auto layer = make_layer();
  auto p = layer.parameters(test::Exec());
  test::scatter(p);
  const test::Exec exec;
  auto workspace = layer.workspace(exec, 20);
  auto tape = layer.tape(exec, 20);
  std::vector<int> total(experts, 0);
  for (const int tokens : {20, 7, 13}) {
    auto values = test::uniform(tokens, tokens * hidden);
    values[0] = test::not_a_number;
    const auto y = test::rows<double>(tokens, hidden);
    layer.forward(exec, p, test::rows<double>(values, tokens, hidden), y, tape, workspace);
    const auto outcome = test::read(layer, tape, tokens);
    const auto mine = reference::load(outcome.ids, experts);
    for (int e = 0; e < experts; ++e) total[e] += mine[e];
    CHECK(outcome.plan_load == mine);
    CHECK(outcome.load == total);
    CHECK(outcome.dropped == 0);
  }
  CHECK(test::to_host(tape.non_finite)[0] == 3);

  const auto before = test::doubles(p.router.selection_bias);
  layer.update(exec, p, tape);
  CHECK(test::doubles(p.router.selection_bias) == reference::moved_bias(before, total, 0.25));
  CHECK(test::all_zero(test::to_host(tape.load)));
  CHECK(test::to_host(tape.non_finite)[0] == 0);

  layer.update(exec, p, tape);  // no load since: nothing to even out
  CHECK(test::doubles(p.router.selection_bias) == reference::moved_bias(before, total, 0.25));
}

TEST_CASE("an inference pass leaves the tape alone", "[layer][statistics]") {
  const auto layer = make_layer();
  auto p = layer.parameters(test::Exec());
  test::scatter(p);
  const test::Exec exec;
  auto workspace = layer.workspace(exec, 9);
  auto tape = layer.tape(exec, 9);
  const auto x = test::rows<double>(test::uniform(1, 9 * hidden), 9, hidden), y = test::rows<double>(9, hidden);
  const auto other = test::rows<double>(test::uniform(2, 9 * hidden), 9, hidden), dx = test::rows<double>(9, hidden);
  auto g = layer.gradients(exec);
  layer.forward(exec, p, x, y, tape, workspace);
  layer.backward(exec, p, tape, y, dx, g, workspace);
  const auto expected = test::values_of(g);
  const auto load = test::to_host(tape.load);
  layer.forward(exec, p, other, dx, workspace);
  CHECK(test::to_host(tape.load) == load);
  layer.backward(exec, p, tape, y, dx, g, workspace);  // still that of the training pass
  CHECK(test::values_of(g) == expected);
}

TEST_CASE("visit shows each mixture of a model and its tape, in order", "[layer][statistics]") {
  const auto mixture = make_layer();
  const moe::Layer narrow{moe::Shape<>{.experts = 3, .hidden = hidden, .intermediate = 4},
                          moe::SoftmaxTopK<1>(),
                          moe::SwiGlu(),
                          moe::NoBalance(),
                          moe::Dropless(),
                          moe::Precision<double>(),
                          moe::BestEngine()};
  const moe::Chain model{moe::Residual{moe::Chain{moe::RmsNorm{hidden, 1e-6, moe::Precision<double>{}}, mixture}},
                         moe::Residual{narrow}};
  const test::Exec exec;
  auto p = model.parameters(exec);
  auto workspace = model.workspace(exec, 6);
  auto tape = model.tape(exec, 6);
  const auto x = test::rows<double>(test::uniform(1, 6 * hidden), 6, hidden), y = test::rows<double>(6, hidden);
  model.forward(exec, p, x, y, tape, workspace);

  std::vector<int> sizes, assignments;
  std::vector<std::string> losses;
  model.visit(tape, [&](const auto& layer, auto& its_tape) {
    sizes.push_back(layer.shape().experts);
    for (const auto& name : layer.loss_names()) losses.push_back(name);
    assignments.push_back(0);
    for (const int each : test::to_host(its_tape.load)) assignments.back() += each;
  });
  CHECK(sizes == std::vector{experts, 3});
  CHECK(losses == std::vector<std::string>{"switch"});
  CHECK(assignments == std::vector{12, 6});

  model.update(exec, p, tape);
  model.visit(tape, [&](const auto&, auto& its_tape) { CHECK(test::all_zero(test::to_host(its_tape.load))); });
}

TEST_CASE("entropy is the sum over tokens of that of the scores, divided by their sum", "[layer][statistics]") {
  const auto check = [](auto run) {
    double expected = 0;
    int tokens = 0;
    for (const int batch : {1, 65, 0, 80, 7}) {
      expected += reference::entropy(run.feed(test::uniform(batch, batch * hidden, 3)), experts);
      tokens += batch;
      const Statistics now = statistics(run.tape);
      CHECK(std::abs(now.entropy - expected) < 1e-13 * expected);
      CHECK(now.tokens == tokens);
    }
    CHECK(expected > 0);
  };
  check(fed(moe::SoftmaxTopK<2>()));
  check(fed(moe::SigmoidTopK<2>()));

  auto softmax = fed(moe::SoftmaxTopK<2>());
  auto logits = fed(moe::TopKSoftmax<2>());  // of scores that are logits it is that of their softmax
  const auto x = test::uniform(1, 70 * hidden, 3);
  softmax.feed(x), logits.feed(x);
  CHECK(std::abs(statistics(softmax.tape).entropy - statistics(logits.tape).entropy) < 1e-12);
}

TEST_CASE("entropy: log E where all scores are equal, 0 for one expert and for scores of 0", "[layer][statistics]") {
  auto even = fed(moe::SoftmaxTopK<2>());
  even.feed(std::vector<double>(11 * hidden, 0.0));
  CHECK(std::abs(statistics(even.tape).entropy - 11 * std::log(double(experts))) < 1e-13);

  auto one = fed(moe::SigmoidTopK<1>(), 1);
  one.feed(test::uniform(1, 11 * hidden));
  CHECK(std::abs(statistics(one.tape).entropy) < 1e-13);

  auto sharp = fed(moe::SoftmaxTopK<2>());  // all scores but one are exactly 0
  sharp.feed(test::uniform(1, 11 * hidden, 1e5));
  CHECK(statistics(sharp.tape).entropy == 0);
  auto none = fed(moe::SigmoidTopK<2>());  // every score is
  moe::assign(none.p.router.weight, std::vector<double>(experts * hidden, -1e4));
  none.feed(std::vector<double>(3 * hidden, 1.0));
  CHECK(statistics(none.tape).entropy == 0);
  CHECK(statistics(none.tape).non_finite == 0);
}

TEST_CASE("a token that is not finite is counted, has no entropy, and spoils nobody's", "[layer][statistics]") {
  const double bad[] = {test::not_a_number, test::infinity, -test::infinity};
  const auto check = [](const auto& router, double value) {
    CAPTURE(value);
    auto clean = fed(router), spoiled = fed(router);
    auto x = test::uniform(1, 70 * hidden);
    const auto scores = clean.feed(x);
    double expected = 0;
    for (int t = 0; t < 70; ++t) {
      const bool whole = t != 0 && t != 66;
      if (whole) expected += reference::entropy(test::slice(scores, t * experts, experts), experts);
      if (!whole) x[t * hidden + 3] = value;
    }
    spoiled.feed(x);
    const Statistics now = statistics(spoiled.tape);
    CHECK(now.non_finite == 2);
    CHECK(now.tokens == 70);
    CHECK(std::abs(now.entropy - expected) < 1e-12);
    int assignments = 0;
    for (const int each : now.load) assignments += each;
    CHECK(assignments == 140);  // it has experts all the same
  };
  for (const double value : bad) {
    check(moe::SoftmaxTopK<2>(), value);
    check(moe::SigmoidTopK<2>(), value);  // whose scores of infinite logits are numbers
  }
}

TEST_CASE("padding is in no statistic, whatever it holds", "[layer][statistics]") {
  auto real = fed(moe::SigmoidTopK<2>()), padded = fed(moe::SigmoidTopK<2>());
  std::vector<double> x, all;
  std::vector<int> mask;
  for (int t = 0; t < 71; ++t) {
    auto row = test::uniform(t, hidden);
    mask.push_back(t % 3 != 1);
    if (mask.back()) {
      x.insert(x.end(), row.begin(), row.end());
    } else {
      row.assign(hidden, t % 2 ? test::not_a_number : 1e9);
    }
    all.insert(all.end(), row.begin(), row.end());
  }
  real.feed(x);
  padded.feed(all, mask);
  const Statistics a = statistics(real.tape), b = statistics(padded.tape);
  CHECK(a.load == b.load);
  CHECK(a.tokens == b.tokens);
  CHECK(b.non_finite == 0);
  CHECK(b.dropped == 0);
  CHECK(std::abs(a.entropy - b.entropy) < 1e-12);

  padded.feed(all, std::vector<int>(71, 0));  // padding alone
  CHECK(statistics(padded.tape).load == b.load);
  CHECK(statistics(padded.tape).tokens == b.tokens);
  CHECK(statistics(padded.tape).entropy == b.entropy);

  real.feed(all);  // the mask of one pass is not the next one's
  padded.feed(all);
  CHECK(statistics(padded.tape).tokens == b.tokens + 71);
  CHECK(statistics(padded.tape).non_finite == statistics(real.tape).non_finite);
}

TEST_CASE("what has no place is dropped, and in the load all the same", "[layer][statistics]") {
  auto run = fed<moe::SoftmaxTopK<2>, DropsLastRow>({});
  run.feed(test::uniform(1, 9 * hidden));
  run.feed(std::vector<double>());
  run.feed(test::uniform(2, 5 * hidden));
  const Statistics now = statistics(run.tape);
  CHECK(now.dropped == 2);
  int assignments = 0;
  for (const int each : now.load) assignments += each;
  CHECK(assignments == 28);
}

TEST_CASE("update starts every statistic again", "[layer][statistics]") {
  auto run = fed<moe::SoftmaxTopK<2>, DropsLastRow>({});
  const auto x = test::uniform(1, 9 * hidden);
  const auto total = [](const Statistics& s) {
    int sum = 0;
    for (const int each : s.load) sum += each;
    return sum;
  };
  run.feed(x);
  const Statistics once = statistics(run.tape);
  auto bad = x;
  bad[0] = test::not_a_number;
  run.feed(bad);
  const Statistics twice = statistics(run.tape);
  CHECK(twice.non_finite == 1);
  CHECK(twice.tokens == 18);
  CHECK(twice.dropped == 2);
  CHECK(total(twice) == 36);

  run.layer.update(run.exec, run.p, run.tape);
  const Statistics none = statistics(run.tape);
  CHECK(test::all_zero(none.load));
  CHECK(none.dropped == 0);
  CHECK(none.non_finite == 0);
  CHECK(none.tokens == 0);
  CHECK(none.entropy == 0);

  run.feed(x);
  const Statistics again = statistics(run.tape);
  CHECK(again.load == once.load);
  CHECK(again.tokens == once.tokens);
  CHECK(again.dropped == once.dropped);
  CHECK(again.entropy == once.entropy);
}
