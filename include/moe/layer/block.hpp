#pragma once

#include <moe/core/arena.hpp>
#include <moe/core/inputs.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/parameters.hpp>
#include <moe/core/types.hpp>

#include <Kokkos_Core.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace moe {

/// A tape or workspace together with the memory that it was cut from.
template <class ContentT, class MemoryT>
struct Owned : ContentT {
  Kokkos::View<std::byte*, MemoryT> memory;
};

namespace detail {

/// Views made by `make(arena)` on memory of `bytes` at least; the memory is zeroed.
template <class ExecT, class MakeT>
auto carve(const ExecT& exec, const Kokkos::View<std::byte*, typename ExecT::memory_space>& memory, const MakeT& make) {
  using ArenaT = Arena<typename ExecT::memory_space>;
  launch_zero(exec, memory);
  const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  const std::size_t skip = (ArenaT::alignment - address % ArenaT::alignment) % ArenaT::alignment;
  expect(memory.data() != nullptr && skip <= memory.size(), "moe::workspace",
         "the memory is smaller than workspace_bytes or tape_bytes");
  ArenaT arena(memory.data() + skip, memory.size() - skip);
  using ContentT = decltype(make(arena));
  return Owned<ContentT, typename ExecT::memory_space>{make(arena), memory};
}

/// What `make(arena)` takes, with room to align it.
template <class ExecT, class MakeT>
std::size_t measure(const MakeT& make) {
  Arena<typename ExecT::memory_space> arena;
  make(arena);
  return arena.bytes() + Arena<typename ExecT::memory_space>::alignment;
}

template <class ExecT>
Kokkos::View<std::byte*, typename ExecT::memory_space> allocate(const ExecT& exec, const std::string& label,
                                                                std::size_t bytes) {
  return Kokkos::View<std::byte*, typename ExecT::memory_space>(
      Kokkos::view_alloc(exec, Kokkos::WithoutInitializing, label), bytes);
}

}  // namespace detail

/// What every block offers its user, out of what it knows to make for a block around it. A block maps
/// [tokens, hidden] to [tokens, hidden]; its own part is
///
///     int hidden() const
///     template <class ExecT> using Parameters, Gradients, Tape, Workspace
///     make_parameters(maker), make_tape(exec, arena, max_tokens), make_workspace(exec, arena, max_tokens, use)
///     forward(exec, p, x, y, workspace)         x: a View, or moe::inputs(...)
///     forward(exec, p, x, y, tape, workspace)
///     backward(exec, p, tape, dy, dx, g, workspace, options)
///     update(exec, p, tape)
///     visit(tape, f)                            f(layer, its tape) for each mixture inside, in order
///     with_weights<WeightT, RowT>()             if there are experts inside: the same with their matrices as WeightT
///
/// All of them are asynchronous on exec, allocate nothing and never fence, but for the making. What is written, y and dx, is not
/// the memory of what is read, x and dy.
template <class BlockT>
class Block {
 public:
  /// Named tensors with their initial values, a function of the seed and the tensor's name.
  template <class ExecT>
  auto parameters(const ExecT& exec, std::uint64_t seed = 0) const {
    detail::expect(Kokkos::is_initialized(), "moe::parameters",
                   "Kokkos is not initialised; make a Kokkos::ScopeGuard in main first");
    return block().make_parameters(ParameterMaker<ExecT>(exec, seed));
  }
  /// Zeros for the trainable tensors, in the type that is computed in; buffers are left out.
  template <class ExecT>
  auto gradients(const ExecT& exec) const {
    return block().make_parameters(GradientMaker<ExecT>(exec));
  }

  /// All scratch for up to max_tokens tokens, sized once.
  template <class ExecT>
  auto workspace(const ExecT& exec, int max_tokens, Use use = Use::training) const {
    return workspace(exec, max_tokens, detail::allocate(exec, "moe::workspace", workspace_bytes(exec, max_tokens, use)),
                     use);
  }
  /// The same on memory of the caller's, at least workspace_bytes.
  template <class ExecT>
  auto workspace(const ExecT& exec, int max_tokens,
                 const Kokkos::View<std::byte*, typename ExecT::memory_space>& memory, Use use = Use::training) const {
    expect_tokens("moe::workspace", max_tokens);
    return detail::carve(exec, memory,
                         [&](auto& arena) { return block().make_workspace(exec, arena, max_tokens, use); });
  }
  template <class ExecT>
  std::size_t workspace_bytes(const ExecT& exec, int max_tokens, Use use = Use::training) const {
    expect_tokens("moe::workspace", max_tokens);
    return detail::measure<ExecT>([&](auto& arena) { return block().make_workspace(exec, arena, max_tokens, use); });
  }

  /// What backward needs of a forward pass of up to max_tokens tokens, the losses and the statistics.
  template <class ExecT>
  auto tape(const ExecT& exec, int max_tokens) const {
    return tape(exec, max_tokens, detail::allocate(exec, "moe::tape", tape_bytes(exec, max_tokens)));
  }
  /// The same on memory of the caller's, at least tape_bytes.
  template <class ExecT>
  auto tape(const ExecT& exec, int max_tokens,
            const Kokkos::View<std::byte*, typename ExecT::memory_space>& memory) const {
    expect_tokens("moe::tape", max_tokens);
    return detail::carve(exec, memory, [&](auto& arena) { return block().make_tape(exec, arena, max_tokens); });
  }
  template <class ExecT>
  std::size_t tape_bytes(const ExecT& exec, int max_tokens) const {
    expect_tokens("moe::tape", max_tokens);
    return detail::measure<ExecT>([&](auto& arena) { return block().make_tape(exec, arena, max_tokens); });
  }

 private:
  static void expect_tokens(const char* where, int max_tokens) {
    detail::expect_at_least(where, "max_tokens", 0, max_tokens);
  }
  const BlockT& block() const { return static_cast<const BlockT&>(*this); }
};

namespace detail {

/// Mixtures inside of a block; each takes the recorded experts where there is a moe::Replay.
template <class BlockT>
constexpr int num_mixtures() {
  if constexpr (requires { BlockT::num_mixtures; }) return BlockT::num_mixtures;
  return 0;
}

/// The block with its experts' matrices stored as WeightT, and rows multiplied as RowT, or as it is where it has none.
template <class WeightT, class RowT, class BlockT>
auto with_weights(const BlockT& block) {
  if constexpr (requires { block.template with_weights<WeightT, RowT>(); }) {
    return block.template with_weights<WeightT, RowT>();
  } else {
    return block;
  }
}

/// The inputs with x as a checked matrix of `hidden` columns and at most `max_tokens` rows.
template <class T, class MemoryT, class XT>
auto checked_inputs(const char* where, const XT& x, int hidden, int max_tokens) {
  const auto in = as_inputs(x);
  const auto matrix = as_matrix<const T, MemoryT>(where, in.x);
  expect_extent(where, "columns of x", hidden, matrix.extent(1));
  expect_at_most(where, "rows of x (max_tokens of the workspace or tape)", max_tokens, matrix.extent(0));
  return with_x(matrix, in);
}

/// The x on a tape, of which backward says in time that there is none: a forward pass leaves its columns there, also
/// where it had no rows.
template <class ViewT>
void expect_forward(const char* where, const ViewT& x) {
  expect(x.extent(1) > 0, where,
         "the tape holds no forward pass; call forward(exec, parameters, x, y, tape, workspace) first");
}

/// That y is not x, or dx not dy: a block may read its input after it has begun to write.
template <class ReadT, class WrittenT>
void expect_apart(const char* where, const ReadT& read, const WrittenT& written) {
  const bool same = static_cast<const void*>(read.data()) == static_cast<const void*>(written.data());
  expect(!same || written.size() == 0, where, "expected memory of its own, got that of the input");
}

/// y, dy or dx as a checked matrix; what is written is none of those that are read.
template <class T, class MemoryT, class ViewT, class... ReadT>
Matrix<T, MemoryT> checked_matrix(const char* where, const ViewT& view, std::size_t rows, std::size_t columns,
                                  const ReadT&... read) {
  const auto matrix = as_matrix<T, MemoryT>(where, view);
  expect_extent(where, "rows", rows, matrix.extent(0));
  expect_extent(where, "columns", columns, matrix.extent(1));
  (expect_apart(where, read, matrix), ...);
  return matrix;
}

}  // namespace detail
}  // namespace moe
