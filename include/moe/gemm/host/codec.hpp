#pragma once

#include <moe/core/float16.hpp>
#include <moe/core/layout.hpp>
#include <moe/core/simd.hpp>
#include <moe/gemm/host/leaf.hpp>

#include <cstdint>
#include <type_traits>

MOE_UNROLL_BEGIN
namespace moe::detail {

/// How the lines of a panel that is not stored in float become vectors that a leaf multiplies, in registers: of floats, or
/// of pairs of bfloat16 for the leaf that multiplies two terms at once.
///
///     step, step_bytes              inputs whose weights are loaded together, and what a line of them takes
///     step_at(in, k)                bytes from a panel's beginning to the step that begins with input k
///     load(from, words)             a step of one line
///     scales(panel, in, k, scale)   of the inputs from k to group_end(in, k)
///     value(words, i, scale, w)     the weights of input i of the step, or of the terms i and i + 1
template <class StorageT, class LeafT, class = void>
struct Codec;

/// What a line of 32-bit words is in registers of a leaf.
template <class LeafT>
struct LineVectors {
  static constexpr int lanes = LeafT::vector_bytes / int(sizeof(float));
  static constexpr int per_line = Panels::line_bytes / LeafT::vector_bytes;
  using V = Native<float, lanes>;
  using Words = Native<std::uint32_t, lanes>;
  using Integers = Native<std::int32_t, lanes>;
  using Ops = typename LeafT::template Ops<float, lanes>;
};

#if !defined(__CUDA_ARCH__)  // nvcc's device pass, which knows no vectors, reads host code too

template <class LeafT>
struct Codec<bfloat16, LeafT> : LineVectors<LeafT> {
  using typename LineVectors<LeafT>::V;
  using typename LineVectors<LeafT>::Words;
  using typename LineVectors<LeafT>::Ops;
  using LineVectors<LeafT>::lanes;
  using LineVectors<LeafT>::per_line;
  static constexpr int step = LeafT::terms, step_bytes = 32 * step;
  static constexpr bool scaled = false;

  static std::int64_t panel_bytes(int in) { return std::int64_t(in) * 32; }
  static MOE_LEAF std::int64_t step_at(int, int k) { return std::int64_t(k) * 32; }
  static MOE_LEAF int group_end(int in, int) { return in; }
  static MOE_LEAF void scales(const char*, int, int, V (&)[per_line]) {}

  static MOE_LEAF void load(const char* from, Words (&words)[per_line]) {
    if constexpr (step == 1) {
      MOE_UNROLL
      for (int j = 0; j < per_line; ++j) Ops::widen(words[j], from + j * lanes * 2);
    } else {
      // The weights of one input, then those of the next: side by side, for each output.
      static_assert(per_line == 1);
      const auto h = *reinterpret_cast<const UnalignedNative<std::uint16_t, 2 * lanes>*>(from);
      const auto pairs = __builtin_shufflevector(h, h, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9,
                                                 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      __builtin_memcpy(&words[0], &pairs, sizeof(pairs));
    }
  }
  static MOE_LEAF void value(const Words& words, int, const V&, V& w) {
    if constexpr (step == 1) {
      w = reinterpret_cast<V>(words << 16);
    } else {
      w = reinterpret_cast<V>(words);
    }
  }
};

template <class LeafT>
struct Codec<half, LeafT> : LineVectors<LeafT> {
  using typename LineVectors<LeafT>::V;
  using typename LineVectors<LeafT>::Words;
  using typename LineVectors<LeafT>::Ops;
  using LineVectors<LeafT>::lanes;
  using LineVectors<LeafT>::per_line;
  static constexpr int step = 1, step_bytes = 32;
  static constexpr bool scaled = false;

  static std::int64_t panel_bytes(int in) { return std::int64_t(in) * 32; }
  static MOE_LEAF std::int64_t step_at(int, int k) { return std::int64_t(k) * 32; }
  static MOE_LEAF int group_end(int in, int) { return in; }
  static MOE_LEAF void scales(const char*, int, int, V (&)[per_line]) {}

  static MOE_LEAF void load(const char* from, Words (&words)[per_line]) {
    MOE_UNROLL
    for (int j = 0; j < per_line; ++j) Ops::widen(words[j], from + j * lanes * 2);
  }
  static MOE_LEAF void value(const Words& words, int, const V&, V& w) { widen_words(half{}, words, w); }
};

template <class StorageT, class LeafT>
struct Codec<StorageT, LeafT, std::enable_if_t<is_quantised_v<StorageT>>> : LineVectors<LeafT> {
  using typename LineVectors<LeafT>::V;
  using typename LineVectors<LeafT>::Words;
  using typename LineVectors<LeafT>::Integers;
  using typename LineVectors<LeafT>::Ops;
  using LineVectors<LeafT>::lanes;
  using LineVectors<LeafT>::per_line;
  using Panel = CodedPanel<StorageT>;
  static constexpr int step = Code<StorageT>::inputs, step_bytes = Panels::line_bytes;
  static constexpr bool scaled = true;

  static std::int64_t panel_bytes(int in) { return std::int64_t(Panel::lines(in)) * Panels::line_bytes; }
  static MOE_LEAF std::int64_t step_at(int in, int k) { return std::int64_t(Panel::line_of(in, k)) * step_bytes; }
  static MOE_LEAF int group_end(int in, int k) { return Panel::group_end(in, k); }

  static MOE_LEAF void load(const char* from, Words (&words)[per_line]) {
    MOE_UNROLL
    for (int j = 0; j < per_line; ++j) {
      words[j] = *reinterpret_cast<const UnalignedNative<std::uint32_t, lanes>*>(from + j * lanes * 4);
    }
  }
  static MOE_LEAF void scales(const char* panel, int in, int k, V (&scale)[per_line]) {
    Words words[per_line];
    load(panel + std::int64_t(Panel::scale_line_of(in, k)) * Panels::line_bytes, words);
    const int i = Panel::scale_of(in, k);
    MOE_UNROLL
    for (int j = 0; j < per_line; ++j) {
      if constexpr (std::is_same_v<StorageT, int8>) {
        scale[j] = reinterpret_cast<V>(words[j]);
      } else if constexpr (std::is_same_v<StorageT, int4>) {
        scale[j] = reinterpret_cast<V>(words[j] >> 16 * i << 16);
      } else {
        const Words e = words[j] >> 8 * i & 0xffu;
        const Words subnormal = reinterpret_cast<Words>(e == 0u) & 0x400000u;
        const Words nan = reinterpret_cast<Words>(e == 255u) & 0x400000u;
        scale[j] = reinterpret_cast<V>(e << 23 | subnormal | nan);
      }
    }
  }
  static MOE_LEAF void value(const Words& words, int i, const V& scale, V& w) {
    if constexpr (LeafT::terms == 1) {
      number(words, i, scale, w);
    } else {
      V first, second;
      number(words, i, scale, first);
      number(words, i + 1, scale, second);
      LeafT::pairs(first, second, w);
    }
  }

 private:
  static MOE_LEAF void number(const Words& words, int i, const V& scale, V& w) {
    constexpr int bits = 32 / step;
    if constexpr (std::is_same_v<StorageT, mxfp4>) {
      Ops::lookup(w, words >> bits * i, e2m1);
      w = w * scale;
    } else {
      const Integers q = reinterpret_cast<Integers>(words << (32 - bits - bits * i)) >> (32 - bits);
      w = __builtin_convertvector(q, V) * scale;
    }
  }
  static constexpr float e2m1[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
};

#endif

}  // namespace moe::detail
MOE_UNROLL_END
