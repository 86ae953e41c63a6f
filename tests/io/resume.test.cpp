#include <moe/io/checkpoint.hpp>
#include <moe/moe.hpp>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <support/compare.hpp>
#include <support/parameters.hpp>
#include <support/scratch.hpp>
#include <support/views.hpp>
#include <vector>

// A run that is stopped and goes on from its file, in objects of its own, ends in the same bits as one that was not.

namespace {

constexpr int rows = 30, width = 4, places = 5, hidden = 20, classes = 30, tokens = 40;

/// A small language model with a bias that its balancer moves.
struct Run {
  test::Exec exec;
  moe::Embedding<> embedding{rows, width, places};
  moe::Linear<> projection{places * width, hidden};
  // the portable engine: half the time to compile, and a second layout in the file
  moe::Layer<moe::Shape<>, moe::SigmoidTopK<2, moe::Normalise, moe::SelectionBias>, moe::SwiGlu,
             moe::Balance<moe::SwitchLoss, moe::LossFreeBias>, moe::Dropless, moe::Precision<>, moe::PortableTeams>
      mixture{{.experts = 6, .hidden = hidden, .intermediate = 9},
              {},
              {},
              moe::Balance{moe::SwitchLoss{.weight = 0.01f}, moe::LossFreeBias{.rate = 0.02f}}};
  moe::Linear<> head{hidden, classes};

  moe::ParameterMaker<test::Exec> maker;
  decltype(embedding.make_parameters(maker)) p_embedding = embedding.make_parameters(maker.in("embedding"));
  decltype(projection.make_parameters(maker)) p_projection = projection.make_parameters(maker.in("projection"));
  decltype(mixture.make_parameters(maker)) p_mixture = mixture.make_parameters(maker.in("mixture"));
  decltype(head.make_parameters(maker)) p_head = head.make_parameters(maker.in("head"));
  decltype(embedding.gradients(exec)) g_embedding = embedding.gradients(exec);
  decltype(projection.gradients(exec)) g_projection = projection.gradients(exec);
  decltype(mixture.gradients(exec)) g_mixture = mixture.gradients(exec);
  decltype(head.gradients(exec)) g_head = head.gradients(exec);
  decltype(moe::trees(p_embedding, p_projection, p_mixture, p_head)) parameters =
      moe::trees(p_embedding, p_projection, p_mixture, p_head);
  decltype(moe::trees(g_embedding, g_projection, g_mixture, g_head)) gradients =
      moe::trees(g_embedding, g_projection, g_mixture, g_head);

  moe::CosineSchedule schedule{.peak = 0.02, .warmup = 2, .steps = 6, .floor = 0.1};
  moe::AdamW adamw;
  moe::ClipNorm clip{.max_norm = 0.5};
  moe::CrossEntropy cross_entropy;
  decltype(adamw.state(exec, parameters, gradients)) state = adamw.state(exec, parameters, gradients);

  explicit Run(std::uint64_t seed) : maker(exec, seed) {}

  void steps(int count) {
    auto t_embedding = embedding.tape(exec, tokens);
    auto t_projection = projection.tape(exec, tokens);
    auto t_mixture = mixture.tape(exec, tokens);
    auto t_head = head.tape(exec, tokens);
    auto w_embedding = embedding.workspace(exec, tokens);
    auto w_projection = projection.workspace(exec, tokens);
    auto w_mixture = mixture.workspace(exec, tokens);
    auto w_head = head.workspace(exec, tokens);
    const auto loss = cross_entropy.workspace(exec, tokens);
    const auto norm = clip.workspace(exec, gradients);
    const auto bytes = test::rows<float>(tokens, places * width), d_bytes = test::rows<float>(tokens, places * width),
               x = test::rows<float>(tokens, hidden), dx = test::rows<float>(tokens, hidden),
               y = test::rows<float>(tokens, hidden), dy = test::rows<float>(tokens, hidden),
               logits = test::rows<float>(tokens, classes);
    for (int i = 0; i < count; ++i) {
      const int step = int(state.steps.value);  // the batch and the rate are functions of it
      std::vector<int> ids(tokens * places), targets(tokens);
      for (int j = 0; j < tokens * places; ++j) ids[j] = (j * 7 + step * 11) % rows;
      for (int t = 0; t < tokens; ++t) targets[t] = (t * 5 + step) % classes;
      embedding.forward(exec, p_embedding, test::rows<int>(ids, tokens, places), bytes, t_embedding, w_embedding);
      projection.forward(exec, p_projection, bytes, x, t_projection, w_projection);
      mixture.forward(exec, p_mixture, x, y, t_mixture, w_mixture);
      head.forward(exec, p_head, y, logits, t_head, w_head);
      cross_entropy(exec, logits, test::numbers<int>(targets), logits, loss);
      head.backward(exec, p_head, t_head, logits, dy, g_head, w_head);
      mixture.backward(exec, p_mixture, t_mixture, dy, dx, g_mixture, w_mixture);
      projection.backward(exec, p_projection, t_projection, dx, d_bytes, g_projection, w_projection);
      embedding.backward(exec, p_embedding, t_embedding, d_bytes, g_embedding, w_embedding);
      clip(exec, norm, gradients);
      adamw.step(exec, parameters, gradients, state, schedule(step + 1));
      mixture.update(exec, p_mixture, t_mixture);
    }
    exec.fence();
  }

  void save(const std::filesystem::path& path) const { moe::save(path, {{"what", "a test"}}, parameters, state); }
  void load(const std::filesystem::path& path) { moe::load(path, parameters, state); }
};

}  // namespace

TEST_CASE("a run that goes on from its file makes the same bits", "[io][resume]") {
  const test::Scratch scratch;
  Run straight(7);
  straight.steps(6);

  Run first(7);
  const auto start = test::values_of(first.parameters);
  first.steps(3);
  first.save(scratch / "run.safetensors");
  Run second(8);
  CHECK(test::values_of(second.parameters) != test::values_of(first.parameters));
  second.load(scratch / "run.safetensors");
  CHECK(second.state.steps.value == 3);
  second.steps(3);

  const auto whole = test::values_of(straight.parameters), resumed = test::values_of(second.parameters);
  REQUIRE(whole.size() == resumed.size());
  CHECK(whole.contains("mixture.router.selection_bias"));
  for (const auto& [name, values] : whole) {
    CAPTURE(name);
    CHECK(test::same_bits(values, resumed.at(name)));
    CHECK(values != start.at(name));  // every tensor was trained, the bias was moved
  }
  straight.save(scratch / "straight");
  second.save(scratch / "resumed");
  CHECK(test::read_file(scratch / "straight") == test::read_file(scratch / "resumed"));
}
