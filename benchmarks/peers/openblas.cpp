/// The layer as one writes it with a BLAS: the rows of each expert gathered, two sgemm, the results scattered. Answers
/// compare.py; nothing of moe's computes here.

#include "server.hpp"
#include "subject.hpp"

#include <cblas.h>

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

namespace {

using peers::Job;
using peers::Json;
using peers::Sizes;

/// y [m, n] = x [m, k] w^T, w [n, k]
void product(int m, int n, int k, const float* x, const float* w, float* y) {
  if (m == 1) {
    cblas_sgemv(CblasRowMajor, CblasNoTrans, n, k, 1, w, k, x, 1, 0, y, 1);
  } else {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1, x, k, w, k, 0, y, n);
  }
}

class Layer final : public peers::Subject {
 public:
  Layer(const Sizes& sizes, const moe::SafetensorsReader& weights, const moe::SafetensorsReader& tokens)
      : s_(sizes),
        max_tokens_(*std::max_element(s_.tokens.begin(), s_.tokens.end())),
        router_(weights.read<float>("router.weight", {s_.experts, s_.hidden})),
        gate_up_(weights.read<float>("experts.gate_up", {s_.experts, 2, s_.intermediate, s_.hidden})),
        down_(weights.read<float>("experts.down", {s_.experts, s_.hidden, s_.intermediate})),
        logits_(std::size_t(max_tokens_) * s_.experts),
        gates_(std::size_t(max_tokens_) * s_.top_k),
        ids_(gates_.size()),
        row_of_(gates_.size()),
        token_of_(gates_.size()),
        offsets_(s_.experts + 1),
        gathered_(gates_.size() * s_.hidden),
        both_(gates_.size() * 2 * s_.intermediate),
        activated_(gates_.size() * s_.intermediate),
        out_(gates_.size() * s_.hidden),
        y_("y", max_tokens_, s_.hidden) {
    for (std::size_t i = 0; i < s_.tokens.size(); ++i) {
      const int n = s_.tokens[i];
      x_[n] = peers::read_batches<float>(tokens, "x." + std::to_string(n), s_.batches[i], n, s_.hidden);
    }
  }

  void run(const Job& job) override {
    if (job.task != "forward") throw peers::Cannot("a BLAS has no backward pass of a layer");
    const float* const x = x_.at(job.tokens).at(job.batch).data();
    route(x, job.tokens);
    sort(job.tokens);
    if (job.variant == "sgemm on threads") {
      for (int e = 0; e < s_.experts; ++e) expert(x, e);
    } else {
#pragma omp parallel for schedule(dynamic, 1)
      for (int e = 0; e < s_.experts; ++e) expert(x, e);  // a BLAS on OpenMP is single-threaded in here
    }
    combine(job.tokens);
  }

  void results(const Job& job, moe::SafetensorsWriter& file) override {
    const peers::Matrix<float> y = Kokkos::subview(y_, std::pair(0, job.tokens), Kokkos::ALL);
    peers::add(file, "y", y);
  }

 private:
  /// softmax over the best top_k logits, which is the softmax over all, renormalised
  void route(const float* x, int tokens) {
    product(tokens, s_.experts, s_.hidden, x, router_.data(), logits_.data());
#pragma omp parallel for if (tokens > 64)
    for (int t = 0; t < tokens; ++t) {
      const float* const logits = &logits_[std::size_t(t) * s_.experts];
      int* const ids = &ids_[std::size_t(t) * s_.top_k];
      float* const gates = &gates_[std::size_t(t) * s_.top_k];
      std::vector<int> order(s_.experts);
      std::iota(order.begin(), order.end(), 0);
      std::partial_sort_copy(order.begin(), order.end(), ids, ids + s_.top_k,
                             [&](int a, int b) { return logits[a] > logits[b]; });
      float sum = 0;
      for (int k = 0; k < s_.top_k; ++k) sum += gates[k] = std::exp(logits[ids[k]] - logits[ids[0]]);
      for (int k = 0; k < s_.top_k; ++k) gates[k] /= sum;
    }
  }

  void sort(int tokens) {
    const int rows = tokens * s_.top_k;
    std::fill(offsets_.begin(), offsets_.end(), 0);
    for (int i = 0; i < rows; ++i) ++offsets_[ids_[i] + 1];
    std::partial_sum(offsets_.begin(), offsets_.end(), offsets_.begin());
    std::vector<int> next(offsets_.begin(), offsets_.end() - 1);
    for (int i = 0; i < rows; ++i) {
      row_of_[i] = next[ids_[i]]++;
      token_of_[row_of_[i]] = i / s_.top_k;
    }
  }

  void expert(const float* x, int e) {
    const int begin = offsets_[e], rows = offsets_[e + 1] - begin;
    if (rows == 0) return;
    const std::size_t d = s_.hidden, f = s_.intermediate;
    float *const in = &gathered_[begin * d], *const both = &both_[begin * 2 * f], *const h = &activated_[begin * f];
    for (int r = 0; r < rows; ++r) std::copy_n(x + token_of_[begin + r] * d, d, in + r * d);
    product(rows, int(2 * f), int(d), in, &gate_up_[e * 2 * f * d], both);
#pragma omp parallel for if (rows > 8)  // one thread where the experts are on threads already
    for (int r = 0; r < rows; ++r) {
      const float *const gate = both + 2 * r * f, *const up = gate + f;
#pragma omp simd
      for (std::size_t i = 0; i < f; ++i) h[r * f + i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
    }
    product(rows, int(d), int(f), h, &down_[e * d * f], &out_[begin * d]);
  }

  void combine(int tokens) {
    const std::size_t d = s_.hidden;
#pragma omp parallel for
    for (int t = 0; t < tokens; ++t) {
      float* const y = y_.data() + t * d;
      std::fill_n(y, d, 0.0f);
      for (int k = 0; k < s_.top_k; ++k) {
        const std::size_t slot = std::size_t(t) * s_.top_k + k;
        const float gate = gates_[slot];
        const float* const row = &out_[row_of_[slot] * d];
        for (std::size_t i = 0; i < d; ++i) y[i] += gate * row[i];
      }
    }
  }

  Sizes s_;
  int max_tokens_;
  std::vector<float> router_, gate_up_, down_;
  std::vector<float> logits_, gates_;
  std::vector<int> ids_, row_of_, token_of_, offsets_;
  std::vector<float> gathered_, both_, activated_, out_;
  std::map<int, std::vector<peers::Matrix<float>>> x_;
  peers::Matrix<float> y_;
};

Json machine() {
  return {{"version", openblas_get_config()}, {"kernel", openblas_get_corename()}, {"threads", omp_get_max_threads()}};
}

}  // namespace

int main(int argc, char** argv) {
  setenv("OMP_PROC_BIND", "false", 0);
  const Kokkos::ScopeGuard kokkos(argc, argv);
  return peers::serve_subjects(machine,
                               [](const std::string& type, const auto& sizes, const auto& weights, const auto& tokens) {
                                 if (openblas_get_parallel() != OPENBLAS_OPENMP)
                                   throw std::runtime_error("this OpenBLAS was not built for OpenMP");
                                 if (type != "float32")
                                   throw peers::Cannot("OpenBLAS multiplies float and double only");
                                 return std::make_unique<Layer>(sizes, weights, tokens);
                               });
}
