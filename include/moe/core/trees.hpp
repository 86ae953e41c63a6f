#pragma once

#include <cstddef>
#include <tuple>
#include <utility>

namespace moe {

/// Several trees of tensors as one: the parameters of a model that is made of several blocks.
template <class... PartsT>
struct Trees {
  std::tuple<PartsT...> parts;

  template <class F, class... TreesT>
  static void for_each(F&& f, TreesT&... trees) {
    [&]<std::size_t... I>(std::index_sequence<I...>) { (for_each_in<I>(f, trees...), ...); }
    (std::index_sequence_for<PartsT...>());
  }

 private:
  template <std::size_t I, class F, class... TreesT>
  static void for_each_in(F& f, TreesT&... trees) {
    std::tuple_element_t<I, std::tuple<PartsT...>>::for_each(f, std::get<I>(trees.parts)...);
  }
};

/// The parts as one tree; it refers to their tensors, it does not copy the elements. Give each block's tensors a path of
/// their own, since a name must be unique in a file and decides the initial values:
///
///     auto head_parameters = head.make_parameters(moe::ParameterMaker(exec, seed).in("head"));   // "head.weight"
template <class... PartsT>
Trees<PartsT...> trees(const PartsT&... parts) {
  return {{parts...}};
}

}  // namespace moe
