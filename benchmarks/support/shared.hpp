#pragma once

#include <memory>
#include <string>

namespace bench {

/// The one thing that is kept from a call of a benchmark to the next.
struct Kept {
  std::string name;
  std::shared_ptr<void> object;
};

/// It must go before Kokkos does: main sees to it.
inline Kept& kept() {
  static Kept kept;
  return kept;
}

/// What `make()` returns, made once for benchmarks that ask for the same name in a row. Two of them may not fit into
/// memory, so the one before goes first.
template <class MakeT>
auto* shared(const std::string& name, const MakeT& make) {
  using T = decltype(make());
  if (kept().name != name || !kept().object) {
    kept() = {};
    kept().object = std::shared_ptr<void>(std::shared_ptr<T>(new T(make())));
    kept().name = name;
  }
  return static_cast<T*>(kept().object.get());
}

}  // namespace bench
