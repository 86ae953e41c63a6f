// Cross-entropy and embedding allocate nothing and never wait for the device, first call included; like every block.

#include <moe/train/cross_entropy.hpp>
#include <moe/train/embedding.hpp>

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

// ---- the counters ---------------------------------------------------------------------------------------------------

namespace {
std::atomic<bool> counting = false;
std::atomic<long> heap_blocks = 0, fences = 0;

void count_fence(const char*, std::uint32_t, std::uint64_t*) { ++fences; }
}  // namespace

#if !defined(__CUDACC__) && !defined(__HIPCC__)
#define MOE_TEST_COUNTS_HEAP 1
void* operator new(std::size_t size) {
  if (counting) ++heap_blocks;
  if (void* const block = std::malloc(size)) return block;
  throw std::bad_alloc();
}
// Not inlined: g++ would see what new returns go to free.
[[gnu::noinline]] void operator delete(void* block) noexcept { std::free(block); }
[[gnu::noinline]] void operator delete(void* block, std::size_t) noexcept { std::free(block); }
#else
#define MOE_TEST_COUNTS_HEAP 0
#endif

namespace {

struct Counts {
  long heap_blocks, fences;
};

/// Counted one after the other: with a tool Kokkos copies names at each launch, and fences after each unless the tool asks
/// for no such fences, which it must before Kokkos starts.
template <class F>
Counts count(F&& f) {
  const long blocks_before = heap_blocks;
  counting = true;
  f();
  counting = false;
  const long blocks = heap_blocks - blocks_before;
  const long fences_before = fences;
  Kokkos::Tools::Experimental::set_begin_fence_callback(count_fence);
  f();
  Kokkos::Tools::Experimental::set_begin_fence_callback(nullptr);
  return {blocks, fences - fences_before};
}

template <class F>
void expect_none(const char* what, F&& f) {
  CAPTURE(what);
  const Counts counts = count(f);
  CHECK(counts.heap_blocks == 0);
  CHECK(counts.fences == 0);
}

using Exec = Kokkos::DefaultExecutionSpace;
template <class T>
using Rows = Kokkos::View<T**, Kokkos::LayoutRight, Exec::memory_space>;

}  // namespace

TEST_CASE("cross-entropy and embedding allocate nothing and wait for nothing", "[allocation][fence]") {
  const Exec exec;
  const int tokens = 70, places = 20, width = 18, classes = 100;
  const moe::Embedding embedding{classes, width, places};
  const auto p = embedding.parameters(exec);
  const auto g = embedding.gradients(exec);
  auto tape = embedding.tape(exec, tokens);
  auto workspace = embedding.workspace(exec, tokens);
  const moe::CrossEntropy cross_entropy;
  const auto loss = cross_entropy.workspace(exec, tokens);
  const Rows<int> ids("ids", tokens, places);
  const Rows<float> y("y", tokens, embedding.out()), logits("logits", tokens, classes);
  const Kokkos::View<int*, Exec::memory_space> targets("targets", tokens);
  expect_none("forward", [&] { embedding.forward(exec, p, ids, y, workspace); });
  expect_none("forward with a tape", [&] { embedding.forward(exec, p, ids, y, tape, workspace); });
  expect_none("backward", [&] { embedding.backward(exec, p, tape, y, g, workspace); });
  expect_none("backward on top", [&] { embedding.backward(exec, p, tape, y, g, workspace, {.accumulate = true}); });
  expect_none("loss", [&] { cross_entropy(exec, logits, targets, loss); });
  expect_none("loss and gradient", [&] { cross_entropy(exec, logits, targets, logits, loss, 0.5); });
}

TEST_CASE("control: what allocates and waits is counted", "[allocation][fence]") {
  const Exec exec;
#if MOE_TEST_COUNTS_HEAP
  CHECK(count([] { delete new volatile int(1); }).heap_blocks == 1);
  CHECK(count([&] { moe::CrossEntropy().workspace(exec, 10); }).heap_blocks > 0);
#endif
  CHECK(count([&] { exec.fence("a fence"); }).fences == 1);
  CHECK(count([&] {
          double sum = 0;
          Kokkos::parallel_reduce(
              Kokkos::RangePolicy<Exec>(exec, 0, 3), KOKKOS_LAMBDA(int, double& s) { s += 1; }, sum);
        }).fences > 0);
}
