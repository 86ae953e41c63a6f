#pragma once

#include <moe/core/error.hpp>
#include <moe/core/tensor.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace moe {

/// State of an optimiser that belongs to a tensor: as many elements, in the tensor's own storage order, so that a step
/// walks both side by side whatever the layout. In files it has the tensor's logical shape.
template <class T, class MemoryT>
class StateTensor {
 public:
  using value_type = T;

  std::string name;  ///< "adamw.first_moment.router.weight"
  std::vector<int> shape;
  Kokkos::View<T*, MemoryT> storage;

  StateTensor() = default;

  /// All zeros.
  template <class ExecT, class U, class LayoutT>
  StateTensor(const ExecT& exec, std::string name_, const Tensor<U, MemoryT, LayoutT>& tensor)
      : name(std::move(name_)),
        shape(tensor.shape),
        storage(Kokkos::view_alloc(exec, Kokkos::WithoutInitializing, name), tensor.storage.extent(0)),
        size_(tensor.size()),
        extents_(tensor.extents()),
        offset_(&offset<U, LayoutT>) {
    detail::launch_zero(exec, storage);
  }

  bool empty() const { return storage.data() == nullptr; }
  /// Logical elements, without padding.
  std::int64_t size() const { return size_; }
  /// Where the storage has the element at a logical position.
  std::int64_t offset(std::int64_t position) const { return offset_(extents_, position); }

 private:
  template <class U, class LayoutT>
  static std::int64_t offset(MatrixExtents m, std::int64_t position) {
    const std::int64_t matrix = position / m.size(), within = position % m.size();
    const int in = int(within % m.in), out = int(within / m.in % m.out), part = int(within / m.in / m.out);
    return matrix * LayoutT::template size<U>(m) + LayoutT::template offset<U>(m, part, out, in);
  }

  std::int64_t size_ = 0;
  MatrixExtents extents_;
  std::int64_t (*offset_)(MatrixExtents, std::int64_t) = nullptr;
};

/// The elements in logical order, on the host. Waits for the device.
template <class T, class MemoryT>
std::vector<T> to_host(const StateTensor<T, MemoryT>& tensor) {
  const auto mirror = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), tensor.storage);
  std::vector<T> values(tensor.size());
  for (std::int64_t i = 0; i < tensor.size(); ++i) values[i] = mirror(tensor.offset(i));
  return values;
}

/// Overwrites the elements, in logical order. Waits for the device.
/// \throws Error if the number of values is not the tensor's size.
template <class T, class MemoryT>
void assign(const StateTensor<T, MemoryT>& tensor, const std::vector<T>& values) {
  detail::expect_extent(("moe::assign(" + tensor.name + ")").c_str(), "number of values", tensor.size(),
                        std::int64_t(values.size()));
  const auto mirror = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), tensor.storage);
  for (std::int64_t i = 0; i < tensor.size(); ++i) mirror(tensor.offset(i)) = values[i];
  Kokkos::deep_copy(tensor.storage, mirror);
}

/// A number on the host that is saved like a tensor: how many steps an optimiser has made.
struct StateCounter {
  using value_type = std::int64_t;

  std::string name;
  std::int64_t value = 0;
  std::vector<int> shape = {};

  bool empty() const { return false; }
  std::int64_t size() const { return 1; }
};

inline std::vector<std::int64_t> to_host(const StateCounter& counter) { return {counter.value}; }
/// \throws Error if there is not exactly one value.
inline void assign(StateCounter& counter, const std::vector<std::int64_t>& values) {
  detail::expect_extent(("moe::assign(" + counter.name + ")").c_str(), "number of values", 1,
                        std::int64_t(values.size()));
  counter.value = values[0];
}

}  // namespace moe
