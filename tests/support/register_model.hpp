#pragma once

/// \file
/// How a file in tests/models/ adds a model: `const auto added = moe_tests::add("softmax", softmax_model());`

#include "support/runs.hpp"

#include <cmath>
#include <string>

namespace moe_tests {

/// That models() gives, to be added to before main.
std::vector<ModelKind>& registered_models();

template <class BlockT, class WithT>
class ModelOf : public Model {
 public:
  ModelOf(const BlockT& block, const WithT& with, int tokens, int max_tokens)
      : run_(Kokkos::DefaultExecutionSpace(), block, tokens, max_tokens, with) {}

  void infer() override { run_.infer(); }
  void forward() override { run_.forward(); }
  void backward() override { run_.backward(); }
  void step() override { run_.step(); }
  void update() override { run_.update(); }

  Digests train(int steps) override { return moe_tests::train(run_, steps); }
  Digests digests() override {
    Digests all;
    append_digests(all, "", run_);
    return all;
  }
  std::uint64_t digest_y() override {
    run_.exec.fence();
    return digest(run_.y);
  }
  std::uint64_t digest_y(int token) override {
    run_.exec.fence();
    return digest(Kokkos::subview(run_.y, std::make_pair(token, token + 1), Kokkos::ALL));
  }
  bool is_finite() override {
    run_.exec.fence();
    return all_finite(run_.y) && all_finite(run_.dx);
  }
  void take_token(Model& other, int token) override {
    const auto& from = static_cast<ModelOf&>(other).run_;
    Kokkos::deep_copy(run_.exec, run_.x, Kokkos::subview(from.x, std::make_pair(token, token + 1), Kokkos::ALL));
  }

 private:
  template <class ViewT>
  static bool all_finite(const ViewT& view) {
    const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), view);
    for (std::size_t i = 0; i < host.size(); ++i) {
      if (!std::isfinite(double(host.data()[i]))) return false;
    }
    return true;
  }

  Run<Kokkos::DefaultExecutionSpace, BlockT, WithT> run_;
};

/// `with(tokens)` gives a functor that puts side inputs around x.
struct NoSides {
  std::identity operator()(int) const { return {}; }
};

template <class BlockT, class WithT = NoSides>
bool add(const std::string& name, const BlockT& block, const ModelTraits& traits = {}, const WithT& with = {}) {
  registered_models().push_back({name, traits, [block, with](int tokens, int max_tokens) {
                                   return std::unique_ptr<Model>(new ModelOf<BlockT, decltype(with(tokens))>(
                                       block, with(tokens), tokens, max_tokens));
                                 }});
  return true;
}

}  // namespace moe_tests
