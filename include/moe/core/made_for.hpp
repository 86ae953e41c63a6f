#pragma once

#include <moe/core/error.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace moe::detail {

/// The sizes that a block made its parameters, a tape or a workspace for. They come back with every call, and another
/// block of the same type has memory of other sizes. All zeros: nobody made it.
struct MadeFor {
  std::array<std::int64_t, 6> sizes{};

  bool operator==(const MadeFor&) const = default;
  bool nothing() const { return *this == MadeFor{}; }
};

/// The sizes of a tensor's matrices; of an empty one nothing.
template <class TensorT>
MadeFor made_for(const TensorT& tensor) {
  if (tensor.empty()) return {};
  return {{tensor.extents().out, tensor.extents().in}};
}

/// The sizes that a block makes something for, with what a sentence calls them.
struct OwnSizes {
  const char* block;  ///< "moe::Layer"
  const char* names;  ///< of the sizes, in order: "experts, hidden"
  MadeFor made_for;

  /// Throws if another block made `what`, or nobody did.
  void expect_mine(const std::string_view& what, const MadeFor& got) const {
    if (got == made_for) return;
    const std::string verb = what.back() == 's' ? " are " : " is ";
    const std::string start = std::string(block) + ": the " + std::string(what) + verb;
    if (got.nothing()) throw Error(start + "nobody's; make one by the block's member function of that name");
    std::size_t used = got.sizes.size();
    while (used > 1 && made_for.sizes[used - 1] == 0 && got.sizes[used - 1] == 0) --used;
    const auto text = [&](const MadeFor& made) {
      std::string list = "(" + std::string(names) + ") = (";
      for (std::size_t i = 0; i < used; ++i) list += (i == 0 ? "" : ", ") + std::to_string(made.sizes[i]);
      return list + ")";
    };
    throw Error(start + "another block's, of " + text(got) + "; this one is of " + text(made_for));
  }
  /// The same for gradients, but none at all are right too: they are not asked for.
  void expect_mine_or_none(const std::string_view& what, const MadeFor& got) const {
    if (!got.nothing()) expect_mine(what, got);
  }
};

}  // namespace moe::detail
