#pragma once

#include "subject.hpp"

#include <moe/moe.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace peers {

/// The values of a file's float tensors, rounded to what the trees store.
template <class ParametersT>
void read_parameters(const moe::SafetensorsReader& file, ParametersT& parameters) {
  moe::for_each_tensor(
      [&](auto& tensor) {
        using T = typename std::decay_t<decltype(tensor)>::value_type;
        auto values = file.read<float>(tensor.name, {tensor.shape.begin(), tensor.shape.end()});
        if constexpr (std::is_same_v<moe::element_value<T>, float>) {
          moe::assign(tensor, values);
        } else {
          std::vector<T> rounded(values.size());
          std::transform(values.begin(), values.end(), rounded.begin(), [](float value) { return T(value); });
          moe::assign(tensor, rounded);
        }
      },
      parameters);
}

/// All tensors as floats, in logical order; of tensors with a matrix for each of many experts the first and the last one.
template <class TreeT>
void add_tensors(moe::SafetensorsWriter& file, const std::string& prefix, TreeT& tree, int experts) {
  moe::for_each_tensor(
      [&](const auto& tensor) {
        std::vector<std::int64_t> shape(tensor.shape.begin(), tensor.shape.end());
        const std::int64_t each = tensor.size() / tensor.count(), last = tensor.size() - each;
        const bool two = tensor.count() == experts && experts > 2;
        if (two) shape[0] = 2;
        file.add<float>(prefix + tensor.name, shape, [&tensor, each, last, two] {
          std::vector<float> values;
          const auto elements = tensor.access();
          for (std::int64_t i = 0; i < (two ? 2 * each : tensor.size()); ++i) {
            values.push_back(float(elements[!two || i < each ? i : last + i - each]));
          }
          return values;
        });
      },
      tree);
}

/// Our layer as Mixtral and Qwen3-MoE have it, of one precision. Sizes are dynamic: one program for all.
template <class PrecisionT>
class Layer final : public Subject {
  using T = typename PrecisionT::storage;
  using LayerT = moe::Layer<moe::Shape<>, moe::SoftmaxTopK<moe::dynamic, moe::Normalise>, moe::SwiGlu, moe::NoBalance,
                            moe::Dropless, PrecisionT>;
  static constexpr bool trains = !moe::is_quantised_v<typename PrecisionT::weights>;

 public:
  Layer(const Sizes& sizes, const moe::SafetensorsReader& weights, const moe::SafetensorsReader& tokens)
      : max_tokens_(*std::max_element(sizes.tokens.begin(), sizes.tokens.end())),
        layer_({.experts = sizes.experts, .hidden = sizes.hidden, .intermediate = sizes.intermediate},
               {.select = {.k = sizes.top_k}}),
        parameters_(layer_.parameters(exec_)),
        workspace_(layer_.workspace(exec_, max_tokens_, moe::Use::inference)),
        y_("y", max_tokens_, sizes.hidden) {
    read_parameters(weights, parameters_);
    for (std::size_t i = 0; i < sizes.tokens.size(); ++i) {
      const int n = sizes.tokens[i];
      x_[n] = read_batches<T>(tokens, "x." + std::to_string(n), sizes.batches[i], n, sizes.hidden);
      dy_[n] = read_batches<T>(tokens, "dy." + std::to_string(n), sizes.batches[i], n, sizes.hidden);
    }
  }

  void run(const Job& job) override {
    const auto& x = x_.at(job.tokens).at(job.batch);
    if (job.task == "forward") return layer_.forward(exec_, parameters_, x, first(y_, job), workspace_);
    if constexpr (trains) {
      train(job);
    } else {
      throw Cannot("quantised weights are not trained");
    }
  }

  void results(const Job& job, moe::SafetensorsWriter& file) override {
    add(file, "y", first(y_, job));
    if constexpr (trains) {
      if (job.task == "forward") return;
      add(file, "dx", first(training_->dx, job));
      if (job.task == "backward") add_tensors(file, "gradient.", training_->gradients, layer_.shape().experts);
      if (job.task == "step") add_tensors(file, "parameter.", parameters_, layer_.shape().experts);
    }
  }

 private:
  void train(const Job& job) {
    const auto& x = x_.at(job.tokens).at(job.batch);
    if (!training_) training_.emplace(*this);
    Training& t = *training_;
    layer_.forward(exec_, parameters_, x, first(y_, job), t.tape, t.workspace);
    layer_.backward(exec_, parameters_, t.tape, dy_.at(job.tokens).at(job.batch), first(t.dx, job), t.gradients,
                    t.workspace);
    if (job.task == "backward") return;

    if (job.task != "step") throw Cannot("there is no task '" + job.task + "'");
    if (!t.state) t.state.emplace(t.optimiser.state(exec_, parameters_, t.gradients));
    t.optimiser.step(exec_, parameters_, t.gradients, *t.state);
    layer_.update(exec_, parameters_, t.tape);
  }

  static Matrix<T> first(const Matrix<T>& rows, const Job& job) {
    return Kokkos::subview(rows, std::pair(0, job.tokens), Kokkos::ALL);
  }

  Exec exec_;
  int max_tokens_;
  LayerT layer_;
  decltype(layer_.parameters(exec_)) parameters_;
  decltype(layer_.workspace(exec_, 0)) workspace_;
  std::map<int, std::vector<Matrix<T>>> x_, dy_;
  Matrix<T> y_;

  /// What only training needs.
  struct Training {
    explicit Training(const Layer& l)
        : gradients(l.layer_.gradients(l.exec_)),
          tape(l.layer_.tape(l.exec_, l.max_tokens_)),
          workspace(l.layer_.workspace(l.exec_, l.max_tokens_)),
          dx("dx", l.max_tokens_, l.layer_.hidden()) {}

    decltype(layer_.gradients(exec_)) gradients;
    decltype(layer_.tape(exec_, 0)) tape;
    decltype(layer_.workspace(exec_, 0)) workspace;
    Matrix<T> dx;
    moe::AdamW optimiser{.learning_rate = 1e-5};
    std::optional<moe::AdamW::State<Exec>> state;
  };
  std::optional<Training> training_;
};

}  // namespace peers
