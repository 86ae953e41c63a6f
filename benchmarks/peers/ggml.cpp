/// The layer as llama.cpp makes that of Qwen3-MoE of ggml's operators (its build_moe_ffn), on ggml's CPU backend.
/// Answers compare.py; nothing of moe's computes here.

#include "server.hpp"
#include "subject.hpp"

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml-cpp.h>
#include <ggml-cpu.h>
#include <ggml.h>

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using peers::Job;
using peers::Json;
using peers::Sizes;

const std::map<std::string, ggml_type> types{
    {"float32", GGML_TYPE_F32}, {"bfloat16", GGML_TYPE_BF16}, {"int8", GGML_TYPE_Q8_0}, {"int4", GGML_TYPE_Q4_0}};

/// For descriptions of tensors and a graph; the numbers lie in buffers.
ggml_context_ptr make_context() {
  return ggml_context_ptr(ggml_init({256 * ggml_tensor_overhead() + ggml_graph_overhead(), nullptr, true}));
}

ggml_backend_dev_t cpu() { return ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0); }

template <class F>
F procedure(const char* name) {
  return reinterpret_cast<F>(ggml_backend_reg_get_proc_address(ggml_backend_cpu_reg(), name));
}

/// Where llama.cpp puts experts of that shape: into the first of the CPU's extra buffers, which rearrange weights, that
/// multiplies by them, otherwise into a plain one.
ggml_backend_buffer_type_t buffer_type(ggml_type type, int columns, int rows, int experts) {
  const ggml_context_ptr context = make_context();
  ggml_tensor* const w = ggml_new_tensor_3d(context.get(), type, columns, rows, experts);
  ggml_tensor* const x = ggml_new_tensor_3d(context.get(), GGML_TYPE_F32, columns, 1, 1);
  ggml_tensor* const ids = ggml_new_tensor_2d(context.get(), GGML_TYPE_I32, 1, 1);
  const ggml_tensor* const product = ggml_mul_mat_id(context.get(), w, x, ids);
  auto* extra = procedure<ggml_backend_dev_get_extra_bufts_t>("ggml_backend_dev_get_extra_bufts")(cpu());
  for (; extra && *extra; ++extra) {
    const ggml_backend_buffer_ptr empty(ggml_backend_buft_alloc_buffer(*extra, 0));
    w->buffer = empty.get();
    if (ggml_backend_dev_supports_op(cpu(), product)) return *extra;
  }
  return ggml_backend_dev_buffer_type(cpu());
}

/// What problem.dequantised makes of four bits, of which ggml then finds the same codes: on its own it would round
/// scales otherwise. Of eight bits its codes are those anyway; it rounds their scales to float16.
void round_to_four_bits(std::vector<float>& weights) {
  constexpr std::size_t size = 32;
  const auto less = [](float a, float b) { return std::abs(a) < std::abs(b); };
#pragma omp parallel for
  for (std::size_t begin = 0; begin < weights.size(); begin += size) {
    float* const block = &weights[begin];
    const float scale = ggml_bf16_to_fp32(ggml_fp32_to_bf16(*std::max_element(block, block + size, less) / -8));
    for (std::size_t i = 0; i < size; ++i)
      block[i] = scale == 0 ? 0 : scale * std::clamp(std::nearbyint(block[i] / scale), -8.0f, 7.0f);
  }
}

/// A graph for one number of tokens, with memory for all that it computes.
struct Graph {
  ggml_context_ptr context;
  ggml_cgraph* graph;
  ggml_tensor *x, *y;
  ggml_gallocr_ptr memory;
};

class Layer final : public peers::Subject {
 public:
  Layer(ggml_type type, const Sizes& sizes, const moe::SafetensorsReader& weights, const moe::SafetensorsReader& tokens)
      : s_(sizes), backend_(ggml_backend_cpu_init()) {
    ggml_backend_cpu_set_n_threads(backend_.get(), omp_get_max_threads());
    const int e = s_.experts, d = s_.hidden, f = s_.intermediate;
    router_ = add_matrices(GGML_TYPE_F32, d, e, 1, weights.read<float>("router.weight", {e, d}).data(), 0);
    {
      std::vector<float> gate_up = weights.read<float>("experts.gate_up", {e, 2, f, d});
      if (type == GGML_TYPE_Q4_0) round_to_four_bits(gate_up);
      const std::size_t matrix = std::size_t(f) * d;
      gate_ = add_matrices(type, d, f, e, gate_up.data(), 2 * matrix);
      up_ = add_matrices(type, d, f, e, gate_up.data() + matrix, 2 * matrix);
    }
    std::vector<float> down = weights.read<float>("experts.down", {e, d, f});
    if (type == GGML_TYPE_Q4_0) round_to_four_bits(down);
    down_ = add_matrices(type, f, d, e, down.data(), std::size_t(d) * f);
    for (std::size_t i = 0; i < s_.tokens.size(); ++i) {
      const int n = s_.tokens[i];
      x_[n] = peers::read_batches<float>(tokens, "x." + std::to_string(n), s_.batches[i], n, d);
      graphs_[n] = make_graph(n);
    }
  }

  void run(const Job& job) override {
    if (job.task != "forward") throw peers::Cannot("ggml's mul_mat_id has no backward pass");
    const Graph& graph = graphs_.at(job.tokens);
    ggml_backend_tensor_set(graph.x, x_.at(job.tokens).at(job.batch).data(), 0, ggml_nbytes(graph.x));
    if (ggml_backend_graph_compute(backend_.get(), graph.graph) != GGML_STATUS_SUCCESS)
      throw std::runtime_error("ggml could not compute the graph");
  }

  void results(const Job& job, moe::SafetensorsWriter& file) override {
    const peers::Matrix<float> y("y", job.tokens, s_.hidden);
    ggml_backend_tensor_get(graphs_.at(job.tokens).y, y.data(), 0, y.size() * sizeof(float));
    peers::add(file, "y", y);
  }

 private:
  /// Matrices [rows, columns], which lie `stride` numbers apart, in that type.
  ggml_tensor* add_matrices(ggml_type type, int columns, int rows, int count, const float* numbers,
                            std::size_t stride) {
    contexts_.push_back(make_context());
    ggml_tensor* const w = ggml_new_tensor_3d(contexts_.back().get(), type, columns, rows, count);
    buffers_.emplace_back(
        ggml_backend_alloc_ctx_tensors_from_buft(contexts_.back().get(), buffer_type(type, columns, rows, count)));
    std::vector<std::uint8_t> coded(ggml_nbytes(w));
#pragma omp parallel for
    for (int i = 0; i < count; ++i)
      ggml_quantize_chunk(type, numbers + i * stride, &coded[i * w->nb[2]], 0, rows, columns, nullptr);
    ggml_backend_tensor_set(w, coded.data(), 0, coded.size());
    return w;
  }

  Graph make_graph(int tokens) const {
    Graph made{make_context(), nullptr, nullptr, nullptr, nullptr};
    ggml_context* const c = made.context.get();
    made.graph = ggml_new_graph(c);
    made.x = ggml_new_tensor_2d(c, GGML_TYPE_F32, s_.hidden, tokens);
    ggml_set_input(made.x);

    ggml_tensor* const probabilities = ggml_soft_max(c, ggml_mul_mat(c, router_, made.x));
    ggml_tensor* const ids = ggml_argsort_top_k(c, probabilities, s_.top_k);
    ggml_tensor* gates = ggml_get_rows(c, ggml_reshape_3d(c, probabilities, 1, s_.experts, tokens), ids);
    gates = ggml_reshape_2d(c, gates, s_.top_k, tokens);
    gates = ggml_div(c, gates, ggml_clamp(c, ggml_sum_rows(c, gates), 6.103515625e-5f, INFINITY));
    gates = ggml_reshape_3d(c, gates, 1, s_.top_k, tokens);
    ggml_build_forward_expand(made.graph, gates);

    ggml_tensor* const x = ggml_reshape_3d(c, made.x, s_.hidden, 1, tokens);
    ggml_tensor* const up = ggml_mul_mat_id(c, up_, x, ids);
    ggml_tensor* const gate = ggml_mul_mat_id(c, gate_, x, ids);
    ggml_tensor* const out = ggml_mul(c, ggml_mul_mat_id(c, down_, ggml_swiglu_split(c, gate, up), ids), gates);
    ggml_build_forward_expand(made.graph, out);

    const auto of = [&](int k) { return ggml_view_2d(c, out, s_.hidden, tokens, out->nb[2], k * out->nb[1]); };
    made.y = of(0);
    for (int k = 1; k < s_.top_k; ++k) made.y = ggml_add(c, made.y, of(k));
    if (s_.top_k == 1) made.y = ggml_cont(c, made.y);
    ggml_set_output(made.y);
    ggml_build_forward_expand(made.graph, made.y);

    made.memory.reset(ggml_gallocr_new(ggml_backend_get_default_buffer_type(backend_.get())));
    if (!ggml_gallocr_alloc_graph(made.memory.get(), made.graph)) throw std::runtime_error("ggml has no memory");
    return made;
  }

  Sizes s_;
  ggml_backend_ptr backend_;
  std::vector<ggml_context_ptr> contexts_;
  std::vector<ggml_backend_buffer_ptr> buffers_;
  ggml_tensor *router_, *gate_, *up_, *down_;
  std::map<int, std::vector<peers::Matrix<float>>> x_;
  std::map<int, Graph> graphs_;
};

Json machine() {
  std::string instructions;
  auto* feature = procedure<ggml_backend_get_features_t>("ggml_backend_get_features")(ggml_backend_cpu_reg());
  for (; feature->name; ++feature) instructions.append(instructions.empty() ? "" : " ").append(feature->name);
  Json buffers;
  for (const auto& [name, type] : types) buffers[name] = ggml_backend_buft_name(buffer_type(type, 256, 256, 2));
  return {{"version", ggml_version()},
          {"instructions", instructions},
          {"threads", omp_get_max_threads()},
          {"buffers", buffers}};
}

}  // namespace

int main(int argc, char** argv) {
  setenv("OMP_PROC_BIND", "false", 0);
  const auto log = [](ggml_log_level level, const char* text, void*) {
    if (level == GGML_LOG_LEVEL_WARN || level == GGML_LOG_LEVEL_ERROR) std::cerr << text;
  };
  ggml_log_set(log, nullptr);
  const Kokkos::ScopeGuard kokkos(argc, argv);
  return peers::serve_subjects(machine,
                               [](const std::string& type, const auto& sizes, const auto& weights, const auto& tokens) {
                                 const auto found = types.find(type);
                                 if (found == types.end()) throw peers::Cannot("ggml has no weights of that type");
                                 return std::make_unique<Layer>(found->second, sizes, weights, tokens);
                               });
}
