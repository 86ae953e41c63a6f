#pragma once

#include <cstdint>
#include <map>
#include <moe/core/parameters.hpp>
#include <string>
#include <support/views.hpp>
#include <vector>

namespace test {

/// Every element of every tensor, by its tensor's name, in logical order.
template <class TreeT>
std::map<std::string, std::vector<double>> values_of(TreeT& tree) {
  std::map<std::string, std::vector<double>> values;
  moe::for_each_tensor([&](auto& tensor) { values[tensor.name] = cast<double>(moe::to_host(tensor)); }, tree);
  return values;
}

/// Overwrites every tensor, biases and buffers too, with numbers in [-bound, bound) that depend on its name alone: scores
/// far from ties, and nothing that is zero by accident. Rounded to float, so that float and double layers agree.
template <class TreeT>
void scatter(TreeT& tree, std::uint64_t seed = 1, double bound = 0.7) {
  moe::for_each_tensor(
      [&](auto& tensor) {
        using T = typename std::decay_t<decltype(tensor)>::value_type;
        moe::assign(tensor, cast<moe::element_value<T>>(
                                uniform<float>(seed * 1000003 + moe::stream_of(tensor.name), tensor.size(), bound)));
      },
      tree);
}

}  // namespace test
