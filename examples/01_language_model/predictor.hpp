#pragma once

#include "model.hpp"
#include "text.hpp"

#include <moe/moe.hpp>

#include <Kokkos_Core.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <string>
#include <utility>
#include <vector>

using Exec = Kokkos::DefaultExecutionSpace;
using Memory = Exec::memory_space;
template <class T>
using Matrix = Kokkos::View<T**, Kokkos::LayoutRight, Memory>;  // rows contiguous, on a GPU too

/// One number from the device.
template <class ViewT>
auto read(const Exec& exec, const ViewT& view) {
  typename ViewT::non_const_value_type value;
  Kokkos::deep_copy(exec, value, Kokkos::subview(view, 0));
  exec.fence();
  return value;
}

/// Bytes to predict and the bytes before each, on the device.
class Batch {
 public:
  explicit Batch(int max_tokens)
      : ids_("ids", max_tokens, context_bytes),
        targets_("targets", max_tokens),
        host_ids_(Kokkos::create_mirror_view(ids_)),
        host_targets_(Kokkos::create_mirror_view(targets_)) {}

  /// Row i becomes what stands at positions[i].
  void fill(const Exec& exec, const std::string& bytes, std::span<const std::uint32_t> positions) {
    tokens_ = positions.size();
    for (std::size_t i = 0; i < tokens_; ++i) {
      const char* const target = bytes.data() + positions[i];
      std::copy_n(target - context_bytes, context_bytes, &host_ids_(i, 0));
      host_targets_(i) = std::uint8_t(*target);
    }
    Kokkos::deep_copy(exec, ids_, host_ids_);
    Kokkos::deep_copy(exec, targets_, host_targets_);
  }
  /// The bytes before; with the number of the step, and the last of the bytes, for routers that ask.
  auto inputs(int step) const {
    const auto ids = Kokkos::subview(ids_, std::pair(std::size_t(0), tokens_), Kokkos::ALL);
    return moe::inputs(ids, moe::Step{std::uint64_t(step)},
                       moe::TokenIds{Kokkos::subview(ids, Kokkos::ALL, context_bytes - 1)});
  }
  auto targets() const { return Kokkos::subview(targets_, std::pair(std::size_t(0), tokens_)); }

 private:
  Matrix<std::uint8_t> ids_;
  Kokkos::View<std::uint8_t*, Memory> targets_;
  Matrix<std::uint8_t>::host_mirror_type host_ids_;
  Kokkos::View<std::uint8_t*, Memory>::host_mirror_type host_targets_;
  std::size_t tokens_ = 0;
};

/// A model in use: how well it predicts a text, and what it writes.
template <class ModelT>
class Predictor {
 public:
  using Parameters = typename ModelT::template Parameters<Exec>;

  Predictor(const Exec& exec, const ModelT& model, int max_tokens = 1024)
      : exec_(exec),
        model_(model),
        workspace_(model.workspace(exec, max_tokens, moe::Use::inference)),
        loss_(cross_entropy_.workspace(exec, max_tokens)),
        batch_(max_tokens),
        logits_("logits", max_tokens, ModelT::alphabet),
        max_tokens_(max_tokens) {}

  /// The mean of -log2 of what the model gives to the byte that comes.
  double bits_per_byte(const Parameters& parameters, const Text& text, std::span<const std::uint32_t> positions) {
    double nats = 0;
    for (std::size_t begin = 0; begin < positions.size(); begin += max_tokens_) {
      const auto chunk = positions.subspan(begin, std::min(max_tokens_, positions.size() - begin));
      batch_.fill(exec_, text.bytes, chunk);
      const auto logits = predict(parameters, chunk.size());
      cross_entropy_(exec_, logits, batch_.targets(), loss_);
      nats += double(read(exec_, loss_.mean)) * double(chunk.size());
    }
    return nats / std::numbers::ln2 / double(positions.size());
  }

  /// `count` bytes that follow the prompt, each drawn from softmax(logits / temperature).
  std::string write(const Parameters& parameters, const std::string& prompt, int count, double temperature,
                    std::uint64_t seed) {
    const moe::Random random{seed, moe::stream_of("sample")};
    std::string bytes = prompt + '\0';  // the last byte stands where the next one will be
    const auto host_logits = Kokkos::create_mirror_view(Kokkos::HostSpace(), Matrix<float>("logits", 1, 256));
    std::vector<double> weights(ModelT::alphabet);
    for (int i = 0; i < count; ++i) {
      const std::uint32_t last[] = {std::uint32_t(bytes.size() - 1)};
      batch_.fill(exec_, bytes, last);
      Kokkos::deep_copy(exec_, host_logits, predict(parameters, 1));
      exec_.fence();
      double largest = host_logits(0, 0), sum = 0;
      for (int v = 1; v < ModelT::alphabet; ++v) largest = std::max(largest, double(host_logits(0, v)));
      for (int v = 0; v < ModelT::alphabet; ++v) {
        sum += weights[v] = std::exp((double(host_logits(0, v)) - largest) / temperature);
      }
      double left = random.uniform<double>(i) * sum;
      int chosen = 0;
      while (chosen < ModelT::alphabet - 1 && (left -= weights[chosen]) >= 0) ++chosen;
      bytes.back() = char(chosen);
      bytes += '\0';
    }
    return bytes.substr(prompt.size(), count);
  }

 private:
  Matrix<float> predict(const Parameters& parameters, std::size_t tokens) {
    const Matrix<float> logits = Kokkos::subview(logits_, std::pair(std::size_t(0), tokens), Kokkos::ALL);
    model_.forward(exec_, parameters, batch_.inputs(0), logits, workspace_);
    return logits;
  }

  Exec exec_;
  ModelT model_;
  moe::CrossEntropy cross_entropy_;
  decltype(model_.workspace(exec_, 0)) workspace_;
  decltype(cross_entropy_.workspace(exec_, 0)) loss_;
  Batch batch_;
  Matrix<float> logits_;
  std::size_t max_tokens_;
};
