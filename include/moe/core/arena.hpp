#pragma once

#include <moe/core/error.hpp>
#include <moe/core/view.hpp>

#include <Kokkos_Core.hpp>

#include <cstddef>
#include <cstdint>

namespace moe {

/// Cuts views out of one block of memory, each aligned to 128 bytes. An arena without a block only measures: the same
/// code that carves a workspace tells its size.
template <class MemoryT>
class Arena {
 public:
  static constexpr std::size_t alignment = 128;

  Arena() = default;
  Arena(std::byte* block, std::size_t bytes) : block_(block), capacity_(bytes) {
    detail::expect(reinterpret_cast<std::uintptr_t>(block) % alignment == 0, "moe::Arena",
                   "the memory must be aligned to 128 bytes");
  }

  template <class T>
  T* take(std::int64_t count) {
    const std::size_t begin = used_;
    used_ += (std::size_t(count) * sizeof(T) + alignment - 1) / alignment * alignment;
    if (block_ == nullptr) return nullptr;
    detail::expect_at_least("moe::Arena", "bytes of memory (workspace_bytes or tape_bytes)", std::int64_t(used_),
                            std::int64_t(capacity_));
    return reinterpret_cast<T*>(block_ + begin);
  }
  template <class T>
  Vector<T, MemoryT> vector(std::int64_t n) {
    return Vector<T, MemoryT>(take<T>(n), n);
  }
  template <class T>
  Matrix<T, MemoryT> matrix(std::int64_t rows, std::int64_t columns) {
    return Matrix<T, MemoryT>(take<T>(rows * columns), rows, columns);
  }

  /// Bytes taken so far.
  std::size_t bytes() const { return used_; }

 private:
  std::byte* block_ = nullptr;
  std::size_t capacity_ = 0;
  std::size_t used_ = 0;
};

}  // namespace moe
