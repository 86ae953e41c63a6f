#pragma once

#include <moe/core/huge_pages.hpp>

#include <Kokkos_Core.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/// The limits of this machine, measured: figures on shared machines mean something only as fractions of these, taken in
/// the same run.
namespace bench {

struct Machine {
  double fma_peak = 0;        ///< float FLOP/s of all threads; a fused multiply-add counts as two
  double read_bandwidth = 0;  ///< bytes/s that all threads together read from memory in huge pages
};

namespace machine_detail {

inline constexpr int fma_steps = 2'000'000;

// Sixteen independent chains: more than latency times ports of any CPU, and they fit the registers of AVX-512; AVX2 has
// sixteen registers, so twelve chains and the two factors.
#if defined(__x86_64__)
__attribute__((target("avx512f"), noinline)) inline float fma_loop_avx512(float seed, double& flops) {
  __m512 sum[16];
  for (auto& s : sum) s = _mm512_set1_ps(seed);
  const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(seed);
  for (int step = 0; step < fma_steps; ++step) {
#pragma GCC unroll 16
    for (auto& s : sum) s = _mm512_fmadd_ps(s, a, b);
  }
  flops = 2.0 * 16 * 16 * fma_steps;
  for (int i = 1; i < 16; ++i) sum[0] = _mm512_add_ps(sum[0], sum[i]);
  return _mm512_cvtss_f32(sum[0]);
}

__attribute__((target("avx2,fma"), noinline)) inline float fma_loop_avx2(float seed, double& flops) {
  __m256 sum[12];
  for (auto& s : sum) s = _mm256_set1_ps(seed);
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(seed);
  for (int step = 0; step < fma_steps; ++step) {
#pragma GCC unroll 12
    for (auto& s : sum) s = _mm256_fmadd_ps(s, a, b);
  }
  flops = 2.0 * 8 * 12 * fma_steps;
  for (int i = 1; i < 12; ++i) sum[0] = _mm256_add_ps(sum[0], sum[i]);
  return _mm256_cvtss_f32(sum[0]);
}
#endif

/// Chains in vectors of the compiler's, where there is no kernel by hand.
inline float fma_loop_generic(float seed, double& flops) {
  constexpr int lanes = 64;
  float sum[lanes];
  std::fill_n(sum, lanes, seed);
  for (int step = 0; step < fma_steps; ++step) {
    for (float& s : sum) s = s * 0.999f + seed;
  }
  flops = 2.0 * lanes * fma_steps;
  float total = 0;
  for (const float s : sum) total += s;
  return total;
}

inline float fma_loop(float seed, double& flops) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return fma_loop_avx512(seed, flops);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return fma_loop_avx2(seed, flops);
#endif
  return fma_loop_generic(seed, flops);
}

/// Adds 64-byte lines of [begin, end); vectors narrower than the CPU's still saturate the memory.
inline float read_all(const float* begin, const float* end) {
  typedef float Line __attribute__((vector_size(32), may_alias));
  Line sums[8] = {};
  for (const float* p = begin; p + 64 <= end; p += 64) {
    for (int i = 0; i < 8; ++i) sums[i] += reinterpret_cast<const Line*>(p)[i];
  }
  float total = 0;
  for (const Line& sum : sums) total += sum[0];
  return total;
}

using Host = Kokkos::DefaultHostExecutionSpace;

/// The best of `repeats` timings of body(thread) on all threads.
template <class F>
double best_seconds(int repeats, const F& body) {
  double best = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    Kokkos::parallel_for("bench::machine", Kokkos::RangePolicy<Host>(0, Host().concurrency()), body);
    Host().fence("bench::machine");
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

}  // namespace machine_detail

inline double measure_fma_peak() {
  const int threads = machine_detail::Host().concurrency();
  std::vector<float> sink(threads);
  std::vector<double> flops(threads);
  const double seconds =
      machine_detail::best_seconds(10, [&](int t) { sink[t] = machine_detail::fma_loop(float(t) * 1e-6f, flops[t]); });
  double total = 0;
  for (const double f : flops) total += f;
  return total / seconds;
}

inline double measure_read_bandwidth() {
  constexpr std::size_t bytes = std::size_t(1) << 30, page = std::size_t(1) << 21;
  const int threads = machine_detail::Host().concurrency();
  auto* const memory = static_cast<float*>(std::aligned_alloc(page, bytes));
  moe::detail::advise_huge_pages(memory, bytes);
  const std::size_t share = bytes / sizeof(float) / threads / 64 * 64;
  std::vector<float> sink(threads);
  machine_detail::best_seconds(1, [&](int t) { std::fill_n(memory + t * share, share, 1.0f); });
  const double seconds = machine_detail::best_seconds(
      5, [&](int t) { sink[t] = machine_detail::read_all(memory + t * share, memory + (t + 1) * share); });
  std::free(memory);
  return double(share) * threads * sizeof(float) / seconds;
}

/// Measured once in a run.
inline const Machine& this_machine() {
  static const Machine machine{measure_fma_peak(), measure_read_bandwidth()};
  return machine;
}

}  // namespace bench
