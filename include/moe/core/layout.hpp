#pragma once

#include <moe/core/quantised.hpp>

#include <Kokkos_Macros.hpp>

#include <cstdint>

namespace moe {

/// The logical extents of one expert's matrix: `parts` matrices [out, in] that share their input (gate and up: two).
struct MatrixExtents {
  int parts = 1;
  int out = 0;
  int in = 0;
  KOKKOS_FUNCTION std::int64_t size() const { return std::int64_t(parts) * out * in; }
};

/// Storage order [panel][in][part][lane]: for each input feature one line of 64 bytes of what is computed in (16 floats
/// or two-byte numbers, 8 doubles), that holds the weights of all parts of a panel of `line / parts` outputs. One load of
/// a line serves gate and up together, so that the activation runs while both accumulators are in registers; the last
/// panel is filled with zeros. Quantised weights: CodedPanel.
struct Panels {
  static constexpr int line_bytes = 64;
  /// Elements in a line.
  template <class T>
  static constexpr int line = line_bytes / (sizeof(T) < sizeof(float) ? int(sizeof(float)) : int(sizeof(T)));

  template <class T>
  KOKKOS_FUNCTION static constexpr int lanes(int parts) {
    return line<T> / parts;
  }
  template <class T>
  KOKKOS_FUNCTION static constexpr int panels(MatrixExtents m) {
    return (m.out + lanes<T>(m.parts) - 1) / lanes<T>(m.parts);
  }
  template <class T>
  KOKKOS_FUNCTION static constexpr std::int64_t size(MatrixExtents m);
  template <class T>
  KOKKOS_FUNCTION static constexpr std::int64_t offset(MatrixExtents m, int part, int out, int in) {
    const int width = lanes<T>(m.parts);
    return ((std::int64_t(out / width) * m.in + in) * m.parts + part) * width + out % width;
  }
};

/// A panel of quantised weights: lines of 64 bytes with a word of 32 bits for each output, in sections. A section is a line
/// of scales and then the lines of the inputs that these are for: of all inputs where an output has one scale. One way for
/// every engine, as words suit vectors of 32-bit lanes and single work items alike.
template <class T>
struct CodedPanel {
  using Code = detail::Code<T>;

  /// Inputs of a section, unused ones included.
  KOKKOS_FUNCTION static constexpr int section(int in) {
    return Code::group == 0 ? (in + Code::inputs - 1) / Code::inputs * Code::inputs : Code::group * Code::scales;
  }
  KOKKOS_FUNCTION static constexpr int section_lines(int in) { return 1 + section(in) / Code::inputs; }
  KOKKOS_FUNCTION static constexpr int lines(int in) {
    return (in + section(in) - 1) / section(in) * section_lines(in);
  }
  /// The lines with the code and with the scale of an input.
  KOKKOS_FUNCTION static constexpr int line_of(int in, int input) {
    return input / section(in) * section_lines(in) + 1 + input % section(in) / Code::inputs;
  }
  KOKKOS_FUNCTION static constexpr int scale_line_of(int in, int input) {
    return input / section(in) * section_lines(in);
  }
  /// Which of the scales in a word is that of an input, and the first input for which another one is.
  KOKKOS_FUNCTION static constexpr int scale_of(int in, int input) {
    return Code::group == 0 ? 0 : input % section(in) / Code::group;
  }
  KOKKOS_FUNCTION static constexpr int group_end(int in, int input) {
    return Code::group == 0 ? section(in) : (input / Code::group + 1) * Code::group;
  }
  KOKKOS_FUNCTION static constexpr int groups(int in) {
    return Code::group == 0 ? 1 : (in + Code::group - 1) / Code::group;
  }

  /// The word of an output in a line of its panel: bytes from the matrix' beginning.
  KOKKOS_FUNCTION static constexpr std::int64_t word(MatrixExtents m, int part, int out, int line_in_panel) {
    const int width = Panels::lanes<T>(m.parts);
    return (std::int64_t(out / width) * lines(m.in) + line_in_panel) * Panels::line_bytes +
           (part * width + out % width) * std::int64_t(sizeof(std::uint32_t));
  }
};

template <class T>
KOKKOS_FUNCTION constexpr std::int64_t Panels::size(MatrixExtents m) {
  if constexpr (is_quantised_v<T>) {
    return std::int64_t(panels<T>(m)) * CodedPanel<T>::lines(m.in) * line_bytes;
  } else {
    return std::int64_t(panels<T>(m)) * m.in * line<T>;
  }
}

/// Storage order [part][out][in], as files have it. Quantised weights lie as in Panels.
struct RowMajor {
  template <class T>
  KOKKOS_FUNCTION static constexpr std::int64_t size(MatrixExtents m) {
    if constexpr (is_quantised_v<T>) {
      return Panels::size<T>(m);
    } else {
      return m.size();
    }
  }
  template <class T>
  KOKKOS_FUNCTION static constexpr std::int64_t offset(MatrixExtents m, int part, int out, int in) {
    return (std::int64_t(part) * m.out + out) * m.in + in;
  }
};

namespace detail {

MOE_INLINE std::uint32_t load_word(const void* from) {
  const auto* const bytes = static_cast<const unsigned char*>(from);
  return std::uint32_t(bytes[0]) | std::uint32_t(bytes[1]) << 8 | std::uint32_t(bytes[2]) << 16 |
         std::uint32_t(bytes[3]) << 24;
}
MOE_INLINE void store_bytes(void* to, std::uint32_t value, int count) {
  auto* const bytes = static_cast<unsigned char*>(to);
  for (int i = 0; i < count; ++i) bytes[i] = static_cast<unsigned char>(value >> 8 * i);
}

/// A weight of a matrix in any layout, as what is computed in.
template <class LayoutT, class T>
KOKKOS_INLINE_FUNCTION auto weight(const T* matrix, MatrixExtents m, int part, int out, int in) {
  if constexpr (is_quantised_v<T>) {
    using Panel = CodedPanel<T>;
    const std::uint32_t code = load_word(matrix + Panel::word(m, part, out, Panel::line_of(m.in, in)));
    const std::uint32_t scale = load_word(matrix + Panel::word(m, part, out, Panel::scale_line_of(m.in, in)));
    return Code<T>::value(code, in % Code<T>::inputs) * Code<T>::scale(scale, Panel::scale_of(m.in, in));
  } else {
    return matrix[LayoutT::template offset<T>(m, part, out, in)];
  }
}

/// Codes the inputs of one output that share a scale; value(in) is what they shall be. Nobody else writes these bytes.
template <class T, class ValueF>
KOKKOS_INLINE_FUNCTION void code_group(T* matrix, MatrixExtents m, int part, int out, int group, const ValueF& value) {
  using Panel = CodedPanel<T>;
  const int begin = group * Code<T>::group, end = Kokkos::min(Panel::group_end(m.in, begin), m.in);
  float extreme = 0;
  for (int in = begin; in < end; ++in) {
    const float w = value(in);
    if (!(Kokkos::abs(w) <= Kokkos::abs(extreme))) extreme = w;
    if (!Kokkos::isfinite(w)) {
      extreme = Kokkos::Experimental::quiet_NaN_v<float>;
      break;
    }
  }
  constexpr int scale_bytes = int(sizeof(std::uint32_t)) / Code<T>::scales;
  const int index = Panel::scale_of(m.in, begin);
  const std::uint32_t bits = Code<T>::scale_bits(extreme);
  store_bytes(matrix + Panel::word(m, part, out, Panel::scale_line_of(m.in, begin)) + index * scale_bytes, bits,
              scale_bytes);
  const float scale = Code<T>::scale(bits << (index * 8 * scale_bytes), index);
  for (int in = begin; in < end; in += Code<T>::inputs) {
    constexpr int code_bits = 32 / Code<T>::inputs;
    std::uint32_t word = 0;
    for (int i = 0; i < Kokkos::min(Code<T>::inputs, end - in); ++i) {
      word |= Code<T>::code(value(in + i), scale) << i * code_bits;
    }
    store_bytes(matrix + Panel::word(m, part, out, Panel::line_of(m.in, in)), word, int(sizeof(word)));
  }
}

}  // namespace detail
}  // namespace moe
