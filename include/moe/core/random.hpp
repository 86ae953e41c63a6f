#pragma once

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <string_view>

namespace moe {

/// Counter-based random numbers, Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011). A
/// number is a function of (seed, stream, index) alone: neither the thread, the layout nor the neighbours matter.
struct Random {
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;

  struct Block {
    std::uint32_t word[4];
  };

  /// 128 random bits.
  KOKKOS_FUNCTION Block bits(std::uint64_t index) const {
    std::uint32_t counter[4] = {low(index), high(index), low(stream), high(stream)};
    std::uint32_t key[2] = {low(seed), high(seed)};
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t a = std::uint64_t(0xD2511F53u) * counter[0];
      const std::uint64_t b = std::uint64_t(0xCD9E8D57u) * counter[2];
      const std::uint32_t next[4] = {high(b) ^ counter[1] ^ key[0], low(b), high(a) ^ counter[3] ^ key[1], low(a)};
      for (int i = 0; i < 4; ++i) counter[i] = next[i];
      key[0] += 0x9E3779B9u;
      key[1] += 0xBB67AE85u;
    }
    return {{counter[0], counter[1], counter[2], counter[3]}};
  }

  /// Uniform in [0, 1), on a grid of 2^-24 (float) or 2^-53 (double).
  template <class T>
  KOKKOS_FUNCTION T uniform(std::uint64_t index) const {
    const Block b = bits(index);
    return unit<T>(b.word[0], b.word[1]);
  }

  /// Normal with mean 0 and variance 1 (Box and Muller).
  template <class T>
  KOKKOS_FUNCTION T normal(std::uint64_t index) const {
    const Block b = bits(index);
    const T radius = Kokkos::sqrt(T(-2) * Kokkos::log(T(1) - unit<T>(b.word[0], b.word[1])));
    return radius * Kokkos::cos(T(6.283185307179586477) * unit<T>(b.word[2], b.word[3]));
  }

 private:
  KOKKOS_FUNCTION static std::uint32_t low(std::uint64_t v) { return std::uint32_t(v); }
  KOKKOS_FUNCTION static std::uint32_t high(std::uint64_t v) { return std::uint32_t(v >> 32); }

  template <class T>
  KOKKOS_FUNCTION static T unit(std::uint32_t a, std::uint32_t b) {
    if constexpr (sizeof(T) == 4) {
      return T(a >> 8) * T(0x1p-24);
    } else {
      return T(((std::uint64_t(a) << 32) | b) >> 11) * T(0x1p-53);
    }
  }
};

/// A stream number out of a name (FNV-1a): a tensor's initial values depend on its name, not on its neighbours.
constexpr std::uint64_t stream_of(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ std::uint8_t(c)) * 0x100000001b3u;
  return hash;
}

}  // namespace moe
