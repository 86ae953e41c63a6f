#pragma once

#include <moe/core/float16.hpp>
#include <moe/core/macros.hpp>

#include <Kokkos_BitManipulation.hpp>
#include <Kokkos_Core.hpp>

#include <cstdint>
#include <type_traits>

namespace moe {

/// \file
/// Weights of a byte or less, for inference and for frozen bases: w = q * s, an integer or a small number q for each weight
/// and a scale s for each group of inputs of an output. They are types to name (`Precision<float, int8>`), made by
/// quantise() and read by products; a single one has no address. The storage of a tensor of them is counted in bytes.

/// q in -127 .. 127, and a float scale for each output: 8 bits a weight.
struct int8 {
  std::uint8_t byte;
};
/// q in -8 .. 7, and a bfloat16 scale for each 32 inputs, such that the number of largest magnitude is -8: 4.5 bits a
/// weight. (ggml's q4_0, whose scales are half.)
struct int4 {
  std::uint8_t byte;
};
/// q in +-{0, 0.5, 1, 1.5, 2, 3, 4, 6}, and a power of two for each 32 inputs: 4.25 bits a weight. (OCP Microscaling
/// Formats 1.0, MXFP4: elements E2M1, scales E8M0; the weights of GPT-OSS.)
struct mxfp4 {
  std::uint8_t byte;
};

/// Whether T is one of the three.
template <class T>
inline constexpr bool is_quantised_v = std::is_same_v<T, int8> || std::is_same_v<T, int4> || std::is_same_v<T, mxfp4>;

/// What files and tables call them.
template <class T>
inline constexpr const char* code_name = std::is_same_v<T, int8>   ? "int8"
                                         : std::is_same_v<T, int4> ? "int4"
                                                                   : "mxfp4";

namespace detail {

/// How a type is coded. A word of 32 bits holds the codes of `inputs` successive inputs of one output, the first in the
/// lowest bits; a word of scales holds `scales` of them, each for `group` inputs (0: for all of them).
template <class T>
struct Code;

template <>
struct Code<int8> {
  static constexpr int inputs = 4, group = 0, scales = 1;
  static constexpr float unit = 1;  ///< what every value is a multiple of

  MOE_INLINE static float value(std::uint32_t word, int i) { return float(std::int32_t(word << (24 - 8 * i)) >> 24); }
  MOE_INLINE static float scale(std::uint32_t word, int) { return Kokkos::bit_cast<float>(word); }

  /// `extreme` is the weight of largest magnitude among those that share the scale, NaN if one is not finite.
  MOE_INLINE static std::uint32_t scale_bits(float extreme) {
    return Kokkos::bit_cast<std::uint32_t>(Kokkos::abs(extreme) / 127);
  }
  MOE_INLINE static std::uint32_t code(float w, float scale) {
    const float q = scale > 0 ? Kokkos::nearbyint(w / scale) : 0;
    return std::uint32_t(std::int32_t(Kokkos::fmin(Kokkos::fmax(q, -127.0f), 127.0f))) & 0xff;
  }
};

template <>
struct Code<int4> {
  static constexpr int inputs = 8, group = 32, scales = 2;
  static constexpr float unit = 1;

  MOE_INLINE static float value(std::uint32_t word, int i) { return float(std::int32_t(word << (28 - 4 * i)) >> 28); }
  MOE_INLINE static float scale(std::uint32_t word, int i) { return Kokkos::bit_cast<float>(word >> 16 * i << 16); }

  MOE_INLINE static std::uint32_t scale_bits(float extreme) { return bfloat16(extreme / -8).bits; }
  MOE_INLINE static std::uint32_t code(float w, float scale) {
    const float q = scale < 0 || scale > 0 ? Kokkos::nearbyint(w / scale) : 0;
    return std::uint32_t(std::int32_t(Kokkos::fmin(Kokkos::fmax(q, -8.0f), 7.0f))) & 0xf;
  }
};

template <>
struct Code<mxfp4> {
  static constexpr int inputs = 8, group = 32, scales = 4;
  static constexpr float unit = 0.5f;

  MOE_INLINE static float value(std::uint32_t word, int i) {
    const std::uint32_t code = word >> 4 * i & 0xf;
    // Twice the magnitudes, a digit each.
    const float size = 0.5f * float(0xc8643210u >> 4 * (code & 7) & 0xf);
    return code & 8 ? -size : size;
  }
  /// 2^(e - 127), and NaN where e is 255.
  MOE_INLINE static float scale(std::uint32_t word, int i) {
    const std::uint32_t e = word >> 8 * i & 0xff;
    return Kokkos::bit_cast<float>(e == 0 ? 0x400000u : e == 255 ? 0x7fc00000u : e << 23);
  }

  /// The power of two that brings the largest magnitude's exponent to that of the largest element, 2.
  MOE_INLINE static std::uint32_t scale_bits(float extreme) {
    const std::uint32_t bits = Kokkos::bit_cast<std::uint32_t>(extreme) & 0x7fffffff;
    if (bits >= 0x7f800000) return 255;
    const std::int32_t e = std::int32_t(bits >> 23) - 2;
    return e < 0 ? 0 : std::uint32_t(e);
  }
  /// To the nearest, ties to the even code; beyond the largest, the largest.
  MOE_INLINE static std::uint32_t code(float w, float scale) {
    const float x = Kokkos::abs(w) / scale;
    const std::uint32_t size =
        (x > 0.25f) + (x >= 0.75f) + (x > 1.25f) + (x >= 1.75f) + (x > 2.5f) + (x >= 3.5f) + (x > 5.0f);
    return size | (Kokkos::signbit(w) ? 8u : 0u);
  }
};

}  // namespace detail
}  // namespace moe
