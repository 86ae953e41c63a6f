#include <moe/core/arena.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <cstddef>
#include <cstdint>
#include <support/views.hpp>
#include <vector>

namespace {
using Arena = moe::Arena<Kokkos::HostSpace>;
}

TEST_CASE("an arena without memory measures what one with memory takes", "[core][arena]") {
  alignas(128) std::byte block[1024];
  Arena measure, arena(block, sizeof(block));
  for (Arena* each : {&measure, &arena}) {
    each->take<char>(1);
    each->take<double>(17);
    each->take<float>(0);
    each->matrix<int>(3, 5);
    each->vector<std::int64_t>(16);
  }
  CHECK(measure.bytes() == 128 + 256 + 0 + 128 + 128);
  CHECK(arena.bytes() == measure.bytes());
}

TEST_CASE("what an arena cuts is aligned, in order and apart", "[core][arena]") {
  alignas(128) std::byte block[1024];
  Arena arena(block, sizeof(block));
  const auto* a = arena.take<char>(129);
  const auto b = arena.vector<float>(3);
  const auto c = arena.matrix<double>(2, 4);
  CHECK(reinterpret_cast<const std::byte*>(a) == block);
  CHECK(reinterpret_cast<const std::byte*>(b.data()) == block + 256);
  CHECK(reinterpret_cast<const std::byte*>(c.data()) == block + 384);
  CHECK(b.extent(0) == 3);
  CHECK(c.extent(0) == 2);
  CHECK(c.extent(1) == 4);
  CHECK(c.stride(0) == 4);
}

TEST_CASE("an arena says when its memory ends, and wants it aligned", "[core][arena]") {
  using Catch::Matchers::Message;
  alignas(128) std::byte block[512];
  Arena arena(block, 256);
  arena.take<float>(32);
  arena.take<float>(32);
  CHECK_THROWS_MATCHES(arena.take<char>(1), moe::Error,
                       Message("moe::Arena: expected bytes of memory (workspace_bytes or tape_bytes) >= 384, got 256"));
  CHECK_THROWS_MATCHES(Arena(block + 8, 128), moe::Error,
                       Message("moe::Arena: the memory must be aligned to 128 bytes"));
}

TEST_CASE("an arena counts beyond 32 bits", "[core][arena]") {
  Arena arena;
  arena.take<float>(std::int64_t(1) << 33);
  CHECK(arena.bytes() == std::size_t(1) << 35);
  const auto matrix = arena.matrix<double>(1 << 17, 1 << 16);
  CHECK(matrix.extent(0) == 1 << 17);
  CHECK(arena.bytes() == (std::size_t(1) << 35) + (std::size_t(1) << 36));
}
