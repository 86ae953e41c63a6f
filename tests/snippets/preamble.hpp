// What a block of statements in the documentation may use without saying so. Each block is compiled on its own.
#pragma once

#include <moe/io/checkpoint.hpp>
#include <moe/moe.hpp>

namespace {

[[maybe_unused]] Kokkos::DefaultExecutionSpace const exec;
[[maybe_unused]] constexpr int tokens = 128, max_tokens = 128, hidden = 512;
[[maybe_unused]] constexpr unsigned seed = 1;
using Matrix = Kokkos::View<float**, Kokkos::LayoutRight>;
[[maybe_unused]] Matrix x, y, dx, dy;  // [tokens, hidden]

}  // namespace
