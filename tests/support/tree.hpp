#pragma once

#include <moe/core/parameters.hpp>
#include <string>
#include <support/views.hpp>
#include <vector>

namespace test {

/// A tree of any tensors of one type and layout, for what walks trees.
template <class T, class LayoutT = moe::RowMajor>
struct Tree {
  std::vector<moe::Tensor<T, Memory, LayoutT>> tensors;

  template <class F, class FirstT, class... TreesT>
  static void for_each(F&& f, FirstT& first, TreesT&... rest) {
    for (std::size_t i = 0; i < first.tensors.size(); ++i) f(first.tensors[i], rest.tensors[i]...);
  }

  /// A tensor [count, parts, out, in], all zeros.
  moe::Tensor<T, Memory, LayoutT>& add(const std::string& name, int count, moe::MatrixExtents extents,
                                       moe::TensorTraits traits = {}) {
    return tensors.emplace_back(Exec(), name, std::vector<int>{count, extents.parts, extents.out, extents.in}, count,
                                extents, traits);
  }
  /// A tensor [n], all zeros.
  moe::Tensor<T, Memory, LayoutT>& add(const std::string& name, int n, moe::TensorTraits traits = {}) {
    return tensors.emplace_back(Exec(), name, std::vector<int>{n}, 1, moe::MatrixExtents{1, n, 1}, traits);
  }

  /// Zeros for what is trainable.
  Tree gradients() const {
    Tree tree;
    for (const auto& tensor : tensors) {
      tree.tensors.push_back(tensor.traits.trainable ? tensor.template like<T>(Exec())
                                                     : moe::Tensor<T, Memory, LayoutT>());
    }
    return tree;
  }
};

}  // namespace test
