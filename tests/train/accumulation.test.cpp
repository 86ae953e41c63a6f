#include <moe/moe.hpp>

#include <catch2/catch_test_macros.hpp>
#include <support/compare.hpp>
#include <support/parameters.hpp>
#include <support/views.hpp>
#include <utility>
#include <vector>

// A batch in two halves, each with half the scale and the second accumulating, gives the gradient of the whole batch.

namespace {

constexpr int rows = 20, width = 3, places = 4, hidden = 12, classes = 17, tokens = 24;
using moe::Precision;
using P = Precision<double>;

const moe::Embedding embedding{rows, width, places, 1.0, P{}};
const moe::Linear head{hidden, classes, moe::WithBias{}, P{}};

/// The loss of z is a mean over tokens, so it adds up; the load-balancing loss is a product of means, which does not.
auto make_blocks() {
  const moe::Layer mixture{moe::Shape<>{.experts = 5, .hidden = hidden, .intermediate = 7},
                           moe::SoftmaxTopK<2>{},
                           moe::SwiGlu{},
                           moe::ZLoss{.weight = 0.1f},
                           moe::Dropless{},
                           P{}};
  return moe::Residual{moe::Chain{moe::RmsNorm{hidden, 1e-6, P{}}, mixture}};
}

}  // namespace

TEST_CASE("gradients of micro-batches add up to those of the batch", "[train][accumulation]") {
  const test::Exec exec;
  const auto blocks = make_blocks();
  const moe::ParameterMaker maker(exec, 1);
  auto p_embedding = embedding.make_parameters(maker.in("embedding"));
  auto p_blocks = blocks.make_parameters(maker.in("blocks"));
  auto p_head = head.make_parameters(maker.in("head"));
  auto all = moe::trees(p_embedding, p_blocks, p_head);
  test::scatter(all);

  std::vector<int> ids(tokens * places), targets(tokens);
  for (int i = 0; i < tokens * places; ++i) ids[i] = i * 7 % rows;
  for (int t = 0; t < tokens; ++t) targets[t] = t * 5 % classes;

  const auto run = [&](const std::vector<std::pair<int, int>>& batches) {
    const auto g_embedding = embedding.gradients(exec);
    const auto g_blocks = blocks.gradients(exec);
    const auto g_head = head.gradients(exec);
    const moe::CrossEntropy cross_entropy;
    bool accumulate = false;
    double loss = 0;
    for (const auto& [begin, n] : batches) {
      auto t_embedding = embedding.tape(exec, n);
      auto t_blocks = blocks.tape(exec, n);
      auto t_head = head.tape(exec, n);
      auto w_embedding = embedding.workspace(exec, n);
      auto w_blocks = blocks.workspace(exec, n);
      auto w_head = head.workspace(exec, n);
      const auto result = cross_entropy.workspace<double>(exec, n);
      const auto x = test::rows<double>(n, hidden), y = test::rows<double>(n, hidden),
                 dx = test::rows<double>(n, hidden), dy = test::rows<double>(n, hidden),
                 logits = test::rows<double>(n, classes);
      embedding.forward(exec, p_embedding, test::rows<int>(test::slice(ids, begin * places, n * places), n, places), x,
                        t_embedding, w_embedding);
      blocks.forward(exec, p_blocks, x, y, t_blocks, w_blocks);
      head.forward(exec, p_head, y, logits, t_head, w_head);
      const double share = double(n) / tokens;
      cross_entropy(exec, logits, test::numbers<int>(test::slice(targets, begin, n)), logits, result, share);
      const moe::Backward options{.loss_scale = float(share), .accumulate = accumulate};
      head.backward(exec, p_head, t_head, logits, dy, g_head, w_head, options);
      blocks.backward(exec, p_blocks, t_blocks, dy, dx, g_blocks, w_blocks, options);
      embedding.backward(exec, p_embedding, t_embedding, dx, g_embedding, w_embedding, options);
      loss += share * test::to_host(result.mean)[0];
      accumulate = true;
    }
    auto g = moe::trees(g_embedding, g_blocks, g_head);
    return std::pair(loss, test::values_of(g));
  };
  const auto [loss, whole] = run({{0, tokens}});
  for (const auto& batches : {std::vector<std::pair<int, int>>{{0, 12}, {12, 12}}, {{0, 6}, {6, 12}, {18, 6}}}) {
    const auto [sum, parts] = run(batches);
    CHECK(std::abs(sum - loss) < 1e-13);
    REQUIRE(parts.size() == whole.size());
    for (const auto& [name, gradient] : whole) {
      CAPTURE(name);
      CHECK_FALSE(test::all_zero(gradient));
      CHECK(test::error(parts.at(name), gradient) < 1e-13);
    }
  }
}
