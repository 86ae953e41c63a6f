#pragma once

#include <moe/core/convert.hpp>
#include <moe/core/precision.hpp>
#include <moe/core/quantised.hpp>
#include <moe/core/tensor.hpp>
#include <moe/io/safetensors.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace moe::detail {

/// \file
/// How a file has a tensor: by its own name, type and logical shape, or quantised, as bytes. Which of them, and reading it
/// one matrix at a time.

/// What a file's elements are for elements of type T.
template <class T>
using file_element = std::conditional_t<is_quantised_v<T>, std::uint8_t, T>;

template <class T>
std::string file_name(const std::string& name) {
  if constexpr (is_quantised_v<T>) {
    return name + "." + code_name<T>;
  } else {
    return name;
  }
}
template <class T>
const char* file_type() {
  if constexpr (is_quantised_v<T>) {
    return code_name<T>;
  } else {
    return safetensors::dtype_of<T>;
  }
}

template <class TensorT>
std::vector<std::int64_t> logical_shape(const TensorT& tensor) {
  return {tensor.shape.begin(), tensor.shape.end()};
}
/// With elements of type T: the logical one, or [matrices, bytes of one].
template <class T, class TensorT>
std::vector<std::int64_t> file_shape(const TensorT& tensor) {
  if constexpr (is_quantised_v<T>) {
    return {tensor.count(), RowMajor::size<T>(tensor.extents())};
  } else {
    return logical_shape(tensor);
  }
}

/// The bytes of a quantised tensor, as they lie.
template <class T, class MemoryT, class LayoutT>
std::vector<std::uint8_t> coded_bytes(const Tensor<T, MemoryT, LayoutT>& tensor) {
  const auto mirror = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), tensor.storage);
  std::vector<std::uint8_t> bytes(mirror.size());
  std::memcpy(bytes.data(), mirror.data(), bytes.size());
  return bytes;
}

/// Whether it is a Tensor, of numbers that can be converted, and not an optimiser's state.
template <class TensorT>
inline constexpr bool has_matrices = requires(const TensorT& tensor) {
  tensor.extents();
  tensor.access();
};

/// Calls f.operator()<T>() for the type T in which the file has the tensor: its own, or another one that it can be made of.
/// A quantised tensor is made of numbers, as nothing else was asked for; all else only where `converts`.
/// \throws Error if there is none, or if its shape is another.
template <class TensorT, class F>
void with_file_type(const SafetensorsReader& file, const TensorT& tensor, bool converts, F&& f) {
  using OwnT = typename TensorT::value_type;
  const auto fail = [&](const std::string& sentence) { file.fail("tensor '" + tensor.name + "': " + sentence); };
  bool done = false;
  const auto try_type = [&]<class T>() {
    const std::string name = file_name<T>(tensor.name);
    const auto found = file.entries().find(name);
    if (done || found == file.entries().end() || found->second.dtype != safetensors::dtype_of<file_element<T>>) return;
    done = true;
    if (!std::is_same_v<T, OwnT> && !converts && (!is_quantised_v<OwnT> || is_quantised_v<T>)) {
      fail(std::string("expected dtype ") + file_type<OwnT>() + ", got " + file_type<T>() +
           "; LoadOptions{.convert = true} takes the nearest values");
    }
    if constexpr (is_quantised_v<T>) {
      // Its own shape in the file does not say it all: inputs are filled up to whole sections.
      const std::string expected = safetensors::text_of(logical_shape(tensor));
      const auto shape = file.metadata().find(name);
      const std::string got = shape == file.metadata().end() ? "none in the metadata" : shape->second;
      if (got != expected) fail("expected shape " + expected + ", got " + got);
    }
    file.expect<file_element<T>>(name, file_shape<T>(tensor));
    f.template operator()<T>();
  };
  try_type.template operator()<OwnT>();
  if constexpr (has_matrices<TensorT>) {
    const auto try_types = [&]<class... T>() { (try_type.template operator()<T>(), ...); };
    try_types.template operator()<float, double, bfloat16, half, int8, int4, mxfp4>();
  }
  if (done) return;
  // Says what is missing, or of which type it is instead.
  using ElementT = std::conditional_t<is_quantised_v<OwnT>, float, OwnT>;
  if (is_quantised_v<OwnT> && !file.entries().contains(tensor.name)) {
    file.fail("has no tensor '" + file_name<OwnT>(tensor.name) + "', nor '" + tensor.name + "' to make it of");
  }
  file.expect<ElementT>(tensor.name, logical_shape(tensor));
}

/// Overwrites the tensor with that of the file, which has it as elements of type T: one matrix at a time, so that no more
/// than that is in memory besides it. Waits for the device.
template <class T, class OwnT, class MemoryT, class LayoutT>
void read_matrices(const SafetensorsReader& file, const Tensor<OwnT, MemoryT, LayoutT>& tensor) {
  using ExecT = typename MemoryT::execution_space;
  // Another type is widened on the host, so that there are two kernels for a tensor's type and not one for each two types.
  using ValueT = std::conditional_t<std::is_same_v<T, OwnT>, T, compute_type<T>>;
  const ExecT exec;
  const MatrixExtents m = tensor.extents();
  const std::int64_t size = RowMajor::size<T>(m), values = RowMajor::size<ValueT>(m);
  const Kokkos::View<ValueT*, MemoryT> matrix(Kokkos::view_alloc(exec, Kokkos::WithoutInitializing, "moe::load"),
                                              values);
  const auto host = Kokkos::create_mirror_view(Kokkos::HostSpace(), matrix);
  std::vector<file_element<T>> elements(size);
  exec.fence("moe::load");
  for (int e = 0; e < tensor.count(); ++e) {
    file.read(file_name<T>(tensor.name), e * size, std::span(elements));
    if constexpr (std::is_same_v<T, OwnT>) {
      std::memcpy(host.data(), elements.data(), size * sizeof(T));
    } else {
      const TensorAccess<const T, RowMajor> access{reinterpret_cast<const T*>(elements.data()), m};
      for (std::int64_t i = 0; i < values; ++i) host(i) = ValueT(access[i]);
    }
    Kokkos::deep_copy(exec, matrix, host);
    convert(exec, TensorAccess<const ValueT, RowMajor>{matrix.data(), m},
            TensorAccess<OwnT, LayoutT>{tensor.access().matrix(e), m}, 1);
    exec.fence("moe::load");
  }
}

}  // namespace moe::detail
