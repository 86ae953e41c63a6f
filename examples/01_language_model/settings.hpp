#pragma once

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

/// The sizes of a model.
struct ModelShape {
  int experts = 16;
  int top_k = 2;
  int intermediate = 256;  ///< width inside one expert
  int hidden = 128;        ///< width of a token
  int embedding = 32;      ///< width of a byte

  /// The dense model of the same active size: one expert as wide as the top_k together that a token visits.
  ModelShape dense() const {
    ModelShape shape = *this;
    shape.experts = shape.top_k = 1;
    shape.intermediate = top_k * intermediate;
    return shape;
  }
};

struct TrainingSettings {
  int steps = 1200;
  int batch = 1024;             ///< bytes predicted in a step
  int micro_batches = 1;        ///< parts of a batch whose gradients are added up
  double learning_rate = 6e-3;  ///< the highest, after a warm-up of a twentieth of the steps
  double weight_decay = 0.1;
  double max_norm = 1;        ///< of the gradient
  std::uint64_t seed = 1;     ///< of the weights and of the order of the text
  int records = 80;           ///< points of a curve
  int held_out_bytes = 4096;  ///< of which a point of the held-out curve is the mean

  int micro_batch() const { return batch / micro_batches; }
};

/// All that the figures depend on: what a stopped run is taken up with.
struct Setup {
  std::vector<std::string> text;  ///< files and folders; none: this repository and its Kokkos headers
  std::size_t max_bytes = 2'000'000;
  ModelShape shape;
  TrainingSettings settings;
  bool with_dense = true;
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ModelShape, experts, top_k, intermediate, hidden, embedding)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TrainingSettings, steps, batch, micro_batches, learning_rate, weight_decay, max_norm,
                                   seed, records, held_out_bytes)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Setup, text, max_bytes, shape, settings, with_dense)
