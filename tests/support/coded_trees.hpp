#pragma once

#include <cstdint>
#include <cstring>
#include <moe/core/parameters.hpp>
#include <support/tree.hpp>
#include <support/views.hpp>
#include <vector>

/// What the tests of files of quantised tensors share.
namespace test::coded_trees {

template <class T, class LayoutT = moe::Panels>
Tree<T, LayoutT> make(std::uint64_t seed) {
  Tree<T, LayoutT> tree;
  tree.add("gate_up", 3, {2, 13, 37});
  tree.add("down", 3, {1, 37, 13});
  moe::for_each_tensor(
      [&](auto& tensor) {
        const auto values = uniform(seed + moe::stream_of(tensor.name), tensor.size());
        moe::assign(tensor, cast<moe::element_value<T>>(cast<float>(values)));
      },
      tree);
  return tree;
}

template <class TreeT>
std::vector<std::vector<std::uint8_t>> bits_of(const TreeT& tree) {
  std::vector<std::vector<std::uint8_t>> bits;
  for (const auto& tensor : tree.tensors) {
    const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), tensor.storage);
    bits.emplace_back(host.size() * sizeof(host(0)));
    std::memcpy(bits.back().data(), host.data(), bits.back().size());
  }
  return bits;
}

}  // namespace test::coded_trees
