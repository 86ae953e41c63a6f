#pragma once

#include <moe/core/huge_pages.hpp>
#include <moe/gemm/host/leaf.hpp>

#include <Kokkos_Core.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <vector>

/// \file
/// What this machine could do at best: the figures that products are measured against.

namespace moe::benchmarks {

/// Twelve independent chains of multiply-adds: enough to keep the units busy, and few enough for sixteen registers.
template <class T>
struct FmaChains {
  static constexpr int chains = 12;
  static constexpr int steps = 1 << 18;
  T* values;  ///< two lines: in, and out

  struct Kernel {
    template <class LeafT>
    static MOE_LEAF void run(const FmaChains& f) {
      constexpr int lanes = LeafT::vector_bytes / int(sizeof(T));
      using Ops = typename LeafT::template Ops<T, lanes>;
      using V = detail::Native<T, lanes>;
      V a, b, sum[chains];
      Ops::broadcast(a, f.values[0]);
      Ops::broadcast(b, f.values[1]);
#pragma GCC unroll 12
      for (int i = 0; i < chains; ++i) Ops::broadcast(sum[i], f.values[i]);
      for (int step = 0; step < steps; ++step) {
#pragma GCC unroll 12
        for (int i = 0; i < chains; ++i) Ops::fma(sum[i], a, b);
      }
      V all = sum[0];
#pragma GCC unroll 12
      for (int i = 1; i < chains; ++i) all = all + sum[i];
      __builtin_memcpy(f.values + 16, &all, sizeof(all));
    }
  };
};

namespace detail {

inline double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class T>
struct RunFmaChains {
  T* values;  ///< 64 for each thread
  void (*chains)(const FmaChains<T>&);
  void operator()(int thread) const { chains({values + 64 * thread}); }
};

template <class T>
struct PickFmaChains {
  template <class LeafT>
  auto operator()() const {
    return &LeafT::template call<typename FmaChains<T>::Kernel, FmaChains<T>>;
  }
};

/// The same with four products of bytes for each word.
struct ByteChainsKernel {
  template <class LeafT>
  static MOE_LEAF void run(const FmaChains<float>& f) {
    constexpr int chains = FmaChains<float>::chains;
    using Bytes = typename LeafT::Bytes;
    Bytes a, sum[chains];
    __builtin_memcpy(&a, f.values, sizeof(a));
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) sum[i] = a;
    for (int step = 0; step < FmaChains<float>::steps; ++step) {
#pragma GCC unroll 12
      for (int i = 0; i < chains; ++i) LeafT::dot_wide(sum[i], a, a);
    }
    Bytes all = sum[0];
#pragma GCC unroll 12
    for (int i = 1; i < chains; ++i) all = all ^ sum[i];
    __builtin_memcpy(f.values + 16, &all, sizeof(all));
  }
};

struct PickByteChains {
  template <class LeafT>
  auto operator()() const {
    return &LeafT::template call<ByteChainsKernel, FmaChains<float>>;
  }
};

template <class T>
constexpr int lanes_of(HostIsa isa) {
  return (isa >= HostIsa::avx512 ? 64 : isa == HostIsa::avx2 ? 32 : 16) / int(sizeof(T));
}

/// A thread's share of the memory, read in `streams` places at once.
struct ReadShare {
  const char* memory;
  std::int64_t bytes;
  std::int64_t* sums;
};

struct SumWords {
  static constexpr int streams = 2;

  template <class LeafT>
  static MOE_LEAF void run(const ReadShare& share) {
    constexpr int words = LeafT::vector_bytes / 8, per_line = 64 / LeafT::vector_bytes;
    using V = moe::detail::Native<std::int64_t, words>;
    const std::int64_t apart = share.bytes / streams;
    V sum[streams][per_line] = {};
    for (std::int64_t i = 0; i < apart; i += 64) {
#pragma GCC unroll 8
      for (int s = 0; s < streams; ++s) {
#pragma GCC unroll 8
        for (int j = 0; j < per_line; ++j) {
          sum[s][j] += *reinterpret_cast<const V*>(share.memory + s * apart + i + j * LeafT::vector_bytes);
        }
      }
    }
    for (int s = 0; s < streams; ++s) {
      for (int j = 0; j < per_line; ++j) share.sums[0] += sum[s][j][0];
    }
  }
};

struct PickReader {
  template <class LeafT>
  auto operator()() const {
    return &LeafT::template call<SumWords, ReadShare>;
  }
};

struct RunReaders {
  const char* memory;
  std::int64_t bytes;  ///< of a thread
  std::int64_t* sums;  ///< 16 for each thread
  void (*read)(const ReadShare&);
  void operator()(int thread) const { read({memory + thread * bytes, bytes, sums + 16 * thread}); }
};

}  // namespace detail

namespace detail {

/// Best of several runs of one kernel by all threads, in FLOP/s; `terms` products are added by each multiply-add.
template <class T, class ExecT>
double measure_chains(const ExecT& exec, void (*chains)(const FmaChains<T>&), int lanes, int terms, int repeats) {
  const int threads = exec.concurrency();
  std::vector<T> values(std::size_t(threads) * 64, T(0.5));
  const RunFmaChains<T> run{values.data(), chains};
  double best = 0;
  for (int i = 0; i < repeats; ++i) {
    const double begin = seconds();
    Kokkos::parallel_for("moe::benchmarks::peak", Kokkos::RangePolicy<ExecT>(exec, 0, threads), run);
    exec.fence();
    const double flops = 2.0 * terms * FmaChains<T>::chains * FmaChains<T>::steps * lanes * threads;
    best = std::max(best, flops / (seconds() - begin));
  }
  return best;
}

}  // namespace detail

/// The rate of multiply-adds in registers, all threads together, best of several runs, in FLOP/s.
template <class T, class ExecT>
double measure_fma_peak(const ExecT& exec, HostIsa isa = host_isa(), int repeats = 10) {
  return detail::measure_chains<T>(exec, moe::detail::with_leaf(isa, detail::PickFmaChains<T>{}),
                                   detail::lanes_of<T>(isa), 1, repeats);
}

/// The same of bfloat16, where the CPU multiplies pairs of them; else they are multiplied as floats.
template <class ExecT>
double measure_pair_peak(const ExecT& exec, HostIsa isa = host_isa(), int repeats = 10) {
  if (isa < HostIsa::avx512_bf16) return measure_fma_peak<float>(exec, isa, repeats);
  return detail::measure_chains<float>(exec, moe::detail::with_pair_leaf(detail::PickFmaChains<float>{}),
                                       detail::lanes_of<float>(isa), 2, repeats);
}

/// The same of bytes, by the instructions that the leaf has for them.
template <class ExecT>
double measure_byte_peak(const ExecT& exec, HostIsa isa = host_isa(), int repeats = 10) {
  const int lanes = isa == HostIsa::avx512 ? detail::lanes_of<float>(HostIsa::avx2) : detail::lanes_of<float>(isa);
  return detail::measure_chains<float>(exec, moe::detail::with_byte_leaf(isa, detail::PickByteChains{}), lanes, 4,
                                       repeats);
}

/// The rate of reading memory that no cache holds, in huge pages, all threads together, best of several runs, in bytes/s.
template <class ExecT>
double measure_read_bandwidth(const ExecT& exec, std::int64_t bytes = std::int64_t(1) << 30, int repeats = 5) {
  const int threads = exec.concurrency();
  const std::int64_t share = bytes / threads / 4096 * 4096;
  Kokkos::View<char*, Kokkos::HostSpace> memory(
      Kokkos::view_alloc(Kokkos::WithoutInitializing, "moe::benchmarks::memory"), share * threads);
  moe::detail::advise_huge_pages(memory.data(), memory.size());
  Kokkos::deep_copy(memory, 1);
  std::vector<std::int64_t> sums(std::size_t(threads) * 16);
  const auto read = moe::detail::with_leaf(host_isa(), detail::PickReader{});
  double best = 0;
  for (int i = 0; i < repeats; ++i) {
    const double begin = detail::seconds();
    Kokkos::parallel_for("moe::benchmarks::read", Kokkos::RangePolicy<ExecT>(exec, 0, threads),
                         detail::RunReaders{memory.data(), share, sums.data(), read});
    exec.fence();
    best = std::max(best, double(share * threads) / (detail::seconds() - begin));
  }
  return best;
}

}  // namespace moe::benchmarks
