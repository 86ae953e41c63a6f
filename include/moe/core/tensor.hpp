#pragma once

#include <moe/core/error.hpp>
#include <moe/core/huge_pages.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/layout.hpp>
#include <moe/core/operands.hpp>
#include <moe/core/random.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace moe {

/// What optimisers and checkpoints need to know of a tensor.
struct TensorTraits {
  bool trainable = true;  ///< false: a buffer, saved with the weights but without a gradient
  bool decay = true;      ///< whether weight decay applies (not to norms and biases)
};

/// Element access by logical position, in any layout, on host or device. A reference to the element; of a quantised
/// tensor its value.
template <class T, class LayoutT>
struct TensorAccess {
  using Value = std::remove_const_t<T>;
  T* data = nullptr;
  MatrixExtents extents;

  KOKKOS_FUNCTION T* matrix(int expert) const { return data + expert * LayoutT::template size<Value>(extents); }
  KOKKOS_FUNCTION decltype(auto) operator()(int expert, int part, int out, int in) const {
    if constexpr (is_quantised_v<Value>) {
      return detail::weight<LayoutT>(static_cast<const Value*>(matrix(expert)), extents, part, out, in);
    } else {
      T& element = matrix(expert)[LayoutT::template offset<Value>(extents, part, out, in)];
      return (element);
    }
  }
  /// By the position in row-major order over [count, parts, out, in]: the order of files.
  KOKKOS_FUNCTION decltype(auto) operator[](std::int64_t position) const {
    const std::int64_t row = position / extents.in;
    const int in = int(position % extents.in);
    const int out = int(row % extents.out);
    const std::int64_t matrix = row / extents.out;
    return (*this)(int(matrix / extents.parts), int(matrix % extents.parts), out, in);
  }
};

namespace detail {

template <class T>
struct PointAtExperts {
  Pointer<T>* experts;
  T* first;
  std::int64_t stride;
  KOKKOS_FUNCTION void operator()(std::int64_t e) const { experts[e] = {first + e * stride}; }
};

}  // namespace detail

/// A named tensor of parameters, gradients or optimiser state: `count` matrices of the same extents, stored in the
/// layout that their engine wants. Its logical shape is what files and users see; element-wise code walks `storage`,
/// whose padding is zero and stays zero. A tensor without storage is one that a tree leaves out: a buffer among
/// gradients, or a frozen weight.
template <class T, class MemoryT, class LayoutT = RowMajor>
class Tensor {
 public:
  using value_type = T;
  using memory_space = MemoryT;
  using layout_type = LayoutT;

  std::string name;        ///< "router.weight"
  std::vector<int> shape;  ///< logical, as in files: [experts, parts, out, in] without the extents the tensor has not
  TensorTraits traits;
  Kokkos::View<T*, MemoryT> storage;

  Tensor() = default;

  /// All zeros.
  template <class ExecT>
  Tensor(const ExecT& exec, std::string name_, std::vector<int> shape_, int count, MatrixExtents extents,
         TensorTraits traits_ = {})
      : name(std::move(name_)), shape(std::move(shape_)), traits(traits_), count_(count), extents_(extents) {
    allocate(exec);
  }

  /// Zeros of the same shape, layout and name in another type: moments, gradients.
  template <class U, class ExecT>
  Tensor<U, MemoryT, LayoutT> like(const ExecT& exec) const {
    return empty() ? Tensor<U, MemoryT, LayoutT>()
                   : Tensor<U, MemoryT, LayoutT>(exec, name, shape, count_, extents_, traits);
  }

  bool empty() const { return storage.data() == nullptr; }
  /// Logical elements, without padding.
  std::int64_t size() const { return count_ * extents_.size(); }
  int count() const { return count_; }
  MatrixExtents extents() const { return extents_; }

  TensorAccess<T, LayoutT> access() const { return {storage.data(), extents_}; }
  Weights<const T> weights() const { return {experts_.data(), extents_}; }
  Weights<T> mutable_weights() const { return {experts_.data(), extents_}; }

 private:
  template <class ExecT>
  void allocate(const ExecT& exec) {
    const std::int64_t stride = LayoutT::template size<T>(extents_);
    storage = Kokkos::View<T*, MemoryT>(Kokkos::view_alloc(exec, Kokkos::WithoutInitializing, name), count_ * stride);
    if constexpr (Kokkos::SpaceAccessibility<Kokkos::HostSpace, MemoryT>::accessible) {
      detail::advise_huge_pages(storage.data(), storage.size() * sizeof(T));
    }
    detail::launch_zero(exec, storage);
    experts_ = Kokkos::View<Pointer<T>*, MemoryT>(Kokkos::view_alloc(exec, Kokkos::WithoutInitializing, "moe::experts"),
                                                  count_);
    detail::launch(exec, detail::kernel_label<"moe::tensor">, count_,
                   detail::PointAtExperts<T>{experts_.data(), storage.data(), stride});
  }

  int count_ = 0;
  MatrixExtents extents_;
  Kokkos::View<Pointer<T>*, MemoryT> experts_;
};

/// What a user sees of a tensor's elements: numbers of its type, or the values of quantised ones.
template <class T>
using element_value = std::conditional_t<is_quantised_v<T>, float, T>;

namespace detail {

/// Codes the inputs that share a scale, one work item for each group of each output of each matrix; values(position) is what
/// they shall be, by the position in row-major order.
template <class T, class LayoutT, class ValuesT>
struct CodeGroups {
  TensorAccess<T, LayoutT> access;
  ValuesT values;

  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    const MatrixExtents m = access.extents;
    const int groups = CodedPanel<T>::groups(m.in);
    const int group = int(item % groups);
    const std::int64_t row = item / groups;
    const int out = int(row % m.out), part = int(row / m.out % m.parts);
    code_group(access.matrix(int(row / m.out / m.parts)), m, part, out, group,
               [&](int in) { return values(row * m.in + in); });
  }
  static std::int64_t items(int count, MatrixExtents m) {
    return std::int64_t(count) * m.parts * m.out * CodedPanel<T>::groups(m.in);
  }
};

template <class T>
struct ValuesAt {
  const T* values;
  KOKKOS_FUNCTION float operator()(std::int64_t i) const { return float(values[i]); }
};

}  // namespace detail

/// The elements in logical order, on the host; of a quantised tensor their values. Waits for the device.
template <class T, class MemoryT, class LayoutT>
std::vector<element_value<T>> to_host(const Tensor<T, MemoryT, LayoutT>& tensor) {
  const auto mirror = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), tensor.storage);
  const TensorAccess<const T, LayoutT> access{mirror.data(), tensor.extents()};
  std::vector<element_value<T>> values(tensor.size());
  for (std::int64_t i = 0; i < tensor.size(); ++i) values[i] = access[i];
  return values;
}

/// Overwrites the tensor with elements in logical order; a quantised tensor gets the nearest that it can hold. Waits for the
/// device.
/// \throws Error if the number of values is not the tensor's size.
template <class T, class MemoryT, class LayoutT>
void assign(const Tensor<T, MemoryT, LayoutT>& tensor, const std::vector<element_value<T>>& values) {
  detail::expect_extent(("moe::assign(" + tensor.name + ")").c_str(), "number of values", tensor.size(),
                        std::int64_t(values.size()));
  const auto mirror = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), tensor.storage);
  const TensorAccess<T, LayoutT> access{mirror.data(), tensor.extents()};
  if constexpr (is_quantised_v<T>) {
    const detail::CodeGroups<T, LayoutT, detail::ValuesAt<float>> code{access, {values.data()}};
    for (std::int64_t i = 0; i < code.items(tensor.count(), tensor.extents()); ++i) code(i);
  } else {
    for (std::int64_t i = 0; i < tensor.size(); ++i) access[i] = values[i];
  }
  Kokkos::deep_copy(tensor.storage, mirror);
}

}  // namespace moe
