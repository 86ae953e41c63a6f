#pragma once

#include <moe/core/float16.hpp>
#include <moe/core/kernel.hpp>
#include <moe/core/layout.hpp>
#include <moe/core/tensor.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <string>
#include <type_traits>

namespace moe::detail {

/// Elements into those of another type or layout, each read where it lies. A work item takes the inputs that share a scale
/// where the result is quantised, and some neighbours elsewhere.
template <class FromAccessT, class ToAccessT>
struct ConvertMatrices {
  using To = typename ToAccessT::Value;
  FromAccessT from;
  ToAccessT to;

  KOKKOS_FUNCTION static constexpr int chunks(int in) {
    if constexpr (is_quantised_v<To>) {
      return CodedPanel<To>::groups(in);
    } else {
      return (in + neighbours - 1) / neighbours;
    }
  }
  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    const MatrixExtents m = to.extents;
    const int chunk = int(item % chunks(m.in));
    const std::int64_t row = item / chunks(m.in);
    const int out = int(row % m.out), part = int(row / m.out % m.parts), matrix = int(row / m.out / m.parts);
    const auto value = [&](int in) {
      const auto element = from(matrix, part, out, in);
      if constexpr (is_float16_v<std::decay_t<decltype(element)>>) {
        return float(element);
      } else {
        return element;
      }
    };
    if constexpr (is_quantised_v<To>) {
      code_group(to.matrix(matrix), m, part, out, chunk, [&](int in) { return float(value(in)); });
    } else {
      const int end = Kokkos::min(m.in, (chunk + 1) * neighbours);
      for (int in = chunk * neighbours; in < end; ++in) to(matrix, part, out, in) = To(value(in));
    }
  }

 private:
  static constexpr int neighbours = 32;
};

/// The elements of `count` matrices as those of others of the same extents. Equal types are copied with their bits.
template <class ExecT, class FromT, class FromLayoutT, class ToT, class ToLayoutT>
void convert(const ExecT& exec, const TensorAccess<const FromT, FromLayoutT>& from,
             const TensorAccess<ToT, ToLayoutT>& to, int count) {
  const std::string& label = kernel_label<"moe::convert">;
  using memory = typename ExecT::memory_space;
  const MatrixExtents m = to.extents;
  if constexpr (std::is_same_v<FromT, ToT> && (is_quantised_v<ToT> || std::is_same_v<FromLayoutT, ToLayoutT>)) {
    using Unmanaged = Kokkos::MemoryTraits<Kokkos::Unmanaged>;
    const std::int64_t size = count * ToLayoutT::template size<ToT>(m);
    Kokkos::deep_copy(exec, Kokkos::View<ToT*, memory, Unmanaged>(to.data, size),
                      Kokkos::View<const ToT*, memory, Unmanaged>(from.data, size));
  } else {
    using ConvertT = ConvertMatrices<TensorAccess<const FromT, FromLayoutT>, TensorAccess<ToT, ToLayoutT>>;
    launch(exec, label, std::int64_t(count) * m.parts * m.out * ConvertT::chunks(m.in), ConvertT{from, to});
  }
}

}  // namespace moe::detail
