#pragma once

/// \file
/// What the tests of a property that every model must have (the same bits, no allocation, no fence) are run on: models
/// that use every policy between them, with sizes off every tile and vector. Each is compiled once, in tests/models/, and
/// serves every program: to add one takes a line there.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace moe_tests {

/// Name and digest of something that was computed.
using Digests = std::vector<std::pair<std::string, std::uint64_t>>;

/// A model with all that running and training it takes, for some number of tokens.
class Model {
 public:
  virtual ~Model() = default;
  virtual void infer() = 0;
  virtual void forward() = 0;
  virtual void backward() = 0;
  virtual void step() = 0;
  virtual void update() = 0;

  /// Inference, then some steps of training; all that came out.
  virtual Digests train(int steps) = 0;
  /// Everything that was computed last.
  virtual Digests digests() = 0;
  /// Of y.
  virtual std::uint64_t digest_y() = 0;
  /// Of one row of y.
  virtual std::uint64_t digest_y(int token) = 0;
  virtual bool is_finite() = 0;
  /// Takes over one token of another model of the same kind, as its only one.
  virtual void take_token(Model& other, int token) = 0;
};

/// What is not the same for all models.
struct ModelTraits {
  bool each_token_alone = true;   ///< a token's result is a function of the token alone: it competes for no place
  bool infers_as_trained = true;  ///< forward gives the same with a tape and without: no noise, no plan of the batch
  bool trains_all = true;         ///< no matrix is frozen
};

struct ModelKind {
  std::string name;
  ModelTraits traits;
  std::function<std::unique_ptr<Model>(int tokens, int max_tokens)> make;
};

/// Those of tests/models/, by name.
const std::vector<ModelKind>& models();

/// Calls f(kind) for each.
template <class F>
void for_each_model(F&& f) {
  for (const ModelKind& kind : models()) f(kind);
}

/// What differs first; empty if nothing does.
inline std::string difference(const Digests& expected, const Digests& got) {
  if (expected.size() != got.size()) return "the number of results";
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] != got[i]) return expected[i].first;
  }
  return {};
}

}  // namespace moe_tests
