#pragma once

#include <moe/core/error.hpp>

#include <Kokkos_Macros.hpp>

namespace moe {

/// Marks a size that is known at run time only: `Shape<>`, `TopK<dynamic>`.
inline constexpr int dynamic = -1;

/// A size that is part of the type. Empty: it costs no byte, and loops over it have a constant bound.
template <int N>
struct Size {
  static_assert(N >= 0, "moe: a static size must not be negative; use moe::dynamic for one that is known at run time");
  static constexpr bool is_static = true;
  KOKKOS_FUNCTION constexpr operator int() const { return N; }
};

/// A size that is a number in the object. Reads like the static one, so one code path serves both.
template <>
struct Size<dynamic> {
  static constexpr bool is_static = false;
  int value = 0;
  constexpr Size() = default;
  KOKKOS_FUNCTION constexpr Size(int n) : value(n) {}  // NOLINT(google-explicit-constructor): `.experts = 64`
  KOKKOS_FUNCTION constexpr operator int() const { return value; }
};

/// The sizes of a mixture-of-experts layer: `Shape<64, 512, 1024>{}` or
/// `Shape<>{.experts = 64, .hidden = 512, .intermediate = 1024}`.
template <int ExpertsV = dynamic, int HiddenV = dynamic, int IntermediateV = dynamic>
struct Shape {
  [[no_unique_address]] Size<ExpertsV> experts{};            ///< E, the number of experts
  [[no_unique_address]] Size<HiddenV> hidden{};              ///< D, the width of a token
  [[no_unique_address]] Size<IntermediateV> intermediate{};  ///< F, the width inside one expert
};

namespace detail {

template <int E, int D, int F>
void expect_positive(const Shape<E, D, F>& shape) {
  expect_at_least("moe::Shape", "experts", 1, shape.experts);
  expect_at_least("moe::Shape", "hidden", 1, shape.hidden);
  expect_at_least("moe::Shape", "intermediate", 1, shape.intermediate);
}

}  // namespace detail
}  // namespace moe
