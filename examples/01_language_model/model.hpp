#pragma once

#include "settings.hpp"

#include <moe/moe.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

/// Two times x + mixture(norm(x)), and a norm.
template <class MixtureT>
auto make_blocks(const MixtureT& mixture) {
  const moe::Residual block{moe::Chain{moe::RmsNorm{mixture.hidden()}, mixture}};
  return moe::Chain{block, block, moe::RmsNorm{mixture.hidden()}};
}

/// The logits of the next byte from the bytes before it: their embeddings side by side, projected to one token, through
/// the blocks. Made of blocks, it is used like one; only that its input is ids, [tokens, context]. What travels with them
/// goes to the blocks.
template <class MixtureT>
class LanguageModel : public moe::Block<LanguageModel<MixtureT>> {
 public:
  static constexpr int alphabet = 256;

  using Embedding = moe::Embedding<>;
  using Linear = moe::Linear<>;
  using Blocks = decltype(make_blocks(std::declval<MixtureT>()));

  /// \param embedding  width of a byte
  LanguageModel(const MixtureT& mixture, int embedding, int context)
      : embedding_(alphabet, embedding, context),
        projection_(context * embedding, mixture.hidden()),
        blocks_(make_blocks(mixture)),
        head_(mixture.hidden(), alphabet) {}

  template <class ExecT>
  struct Parameters {
    Embedding::Parameters<ExecT> embedding;
    Linear::Parameters<ExecT> projection;
    typename Blocks::template Parameters<ExecT> blocks;
    Linear::Parameters<ExecT> head;

    template <class F, class... TreesT>
    static void for_each(F&& f, TreesT&... trees) {
      decltype(embedding)::for_each(f, trees.embedding...);
      decltype(projection)::for_each(f, trees.projection...);
      decltype(blocks)::for_each(f, trees.blocks...);
      decltype(head)::for_each(f, trees.head...);
    }
  };

  template <class ExecT>
  using MatrixOf = moe::Matrix<float, typename ExecT::memory_space>;
  /// What stands between the parts: the window of embeddings, the input and the output of the blocks; or the gradients.
  template <class ExecT>
  struct Between {
    MatrixOf<ExecT> window, in, out;

    Between first(std::size_t tokens) const {
      const auto rows = [&](const MatrixOf<ExecT>& all) { return MatrixOf<ExecT>(all.data(), tokens, all.extent(1)); };
      return {rows(window), rows(in), rows(out)};
    }
  };
  template <class ExecT>
  struct Tape {
    Embedding::Tape<ExecT> embedding;
    Linear::Tape<ExecT> projection;
    typename Blocks::template Tape<ExecT> blocks;
    Linear::Tape<ExecT> head;
    Between<ExecT> between;
  };
  template <class ExecT>
  struct Workspace {
    Embedding::Workspace<ExecT> embedding;
    Linear::Workspace<ExecT> projection;
    typename Blocks::template Workspace<ExecT> blocks;
    Linear::Workspace<ExecT> head;
    Between<ExecT> between;
  };

  template <class ExecT, class IdsT, class... SidesT, class LogitsT, class WorkspaceT>
  void forward(const ExecT& exec, const Parameters<ExecT>& p, const moe::Inputs<IdsT, SidesT...>& ids,
               const LogitsT& logits, WorkspaceT& workspace) const {
    const auto [window, in, out] = workspace.between.first(ids.x.extent(0));
    embedding_.forward(exec, p.embedding, ids.x, window, workspace.embedding);
    projection_.forward(exec, p.projection, window, in, workspace.projection);
    blocks_.forward(exec, p.blocks, moe::Inputs<MatrixOf<ExecT>, SidesT...>{in, ids.sides}, out, workspace.blocks);
    head_.forward(exec, p.head, out, logits, workspace.head);
  }

  template <class ExecT, class IdsT, class... SidesT, class LogitsT, class TapeT, class WorkspaceT>
  void forward(const ExecT& exec, const Parameters<ExecT>& p, const moe::Inputs<IdsT, SidesT...>& ids,
               const LogitsT& logits, TapeT& tape, WorkspaceT& workspace) const {
    const auto [window, in, out] = tape.between.first(ids.x.extent(0));
    embedding_.forward(exec, p.embedding, ids.x, window, tape.embedding, workspace.embedding);
    projection_.forward(exec, p.projection, window, in, tape.projection, workspace.projection);
    blocks_.forward(exec, p.blocks, moe::Inputs<MatrixOf<ExecT>, SidesT...>{in, ids.sides}, out, tape.blocks,
                    workspace.blocks);
    head_.forward(exec, p.head, out, logits, tape.head, workspace.head);
  }

  template <class ExecT, class TapeT, class LogitsT, class WorkspaceT>
  void backward(const ExecT& exec, const Parameters<ExecT>& p, const TapeT& tape, const LogitsT& d_logits,
                const Parameters<ExecT>& g, WorkspaceT& workspace, const moe::Backward& options = {}) const {
    const auto [d_window, d_in, d_out] = workspace.between.first(d_logits.extent(0));
    head_.backward(exec, p.head, tape.head, d_logits, d_out, g.head, workspace.head, options);
    blocks_.backward(exec, p.blocks, tape.blocks, d_out, d_in, g.blocks, workspace.blocks, options);
    projection_.backward(exec, p.projection, tape.projection, d_in, d_window, g.projection, workspace.projection,
                         options);
    embedding_.backward(exec, p.embedding, tape.embedding, d_window, g.embedding, workspace.embedding, options);
  }

  template <class ExecT, class TapeT>
  void update(const ExecT& exec, const Parameters<ExecT>& p, TapeT& tape) const {
    blocks_.update(exec, p.blocks, tape.blocks);
  }
  /// f(layer, its tape) for each mixture.
  template <class TapeT, class F>
  void visit(TapeT& tape, F&& f) const {
    blocks_.visit(tape.blocks, f);
  }

  // What moe::Block makes parameters(), gradients(), tape() and workspace() of.

  template <class MakerT>
  auto make_parameters(const MakerT& maker) const {
    return Parameters<typename MakerT::exec>{
        embedding_.make_parameters(maker.in("embedding")), projection_.make_parameters(maker.in("projection")),
        blocks_.make_parameters(maker.in("blocks")), head_.make_parameters(maker.in("head"))};
  }
  template <class ExecT, class ArenaT>
  Tape<ExecT> make_tape(const ExecT& exec, ArenaT& arena, int n) const {
    return {embedding_.make_tape(exec, arena, n), projection_.make_tape(exec, arena, n),
            blocks_.make_tape(exec, arena, n), head_.make_tape(exec, arena, n), between<ExecT>(arena, n)};
  }
  template <class ExecT, class ArenaT>
  Workspace<ExecT> make_workspace(const ExecT& exec, ArenaT& arena, int n, moe::Use use) const {
    return {embedding_.make_workspace(exec, arena, n, use), projection_.make_workspace(exec, arena, n, use),
            blocks_.make_workspace(exec, arena, n, use), head_.make_workspace(exec, arena, n, use),
            between<ExecT>(arena, n)};
  }

 private:
  template <class ExecT, class ArenaT>
  Between<ExecT> between(ArenaT& arena, int n) const {
    return {arena.template matrix<float>(n, embedding_.out()), arena.template matrix<float>(n, blocks_.hidden()),
            arena.template matrix<float>(n, blocks_.hidden())};
  }

  Embedding embedding_;
  Linear projection_;
  Blocks blocks_;
  Linear head_;
};

/// Numbers that a model has, and those that one token meets: of the experts' only its top_k experts'.
struct ParameterCount {
  std::int64_t total = 0;
  std::int64_t active = 0;
};
template <class ParametersT>
ParameterCount count_parameters(const ParametersT& parameters, const ModelShape& shape) {
  ParameterCount count;
  moe::for_each_tensor(
      [&](const auto& tensor) {
        const bool one_for_each_expert = tensor.count() == shape.experts;
        count.total += tensor.size();
        count.active += one_for_each_expert ? tensor.size() / shape.experts * shape.top_k : tensor.size();
      },
      parameters);
  return count;
}
