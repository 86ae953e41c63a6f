#pragma once

#include <moe/core/error.hpp>

#include <atomic>
#include <cstdlib>
#include <string>
#include <string_view>

#if defined(__x86_64__) && !defined(__CUDA_ARCH__)
#define MOE_X86 1
#endif

namespace moe {

/// The instruction sets that the host engine has leaves for. `baseline` is what the program was compiled for: always
/// right, and fast only where that has fused multiply-adds. `avx512_vnni` multiplies four bytes at a time, with the same
/// bits as all others. `avx512_bf16` multiplies two numbers at a time where rows are bfloat16, which rounds otherwise than
/// a chain of multiply-adds. Each holds those before it.
enum class HostIsa { baseline, avx2, avx512, avx512_vnni, avx512_bf16 };

inline constexpr HostIsa all_host_isas[] = {HostIsa::baseline, HostIsa::avx2, HostIsa::avx512, HostIsa::avx512_vnni,
                                            HostIsa::avx512_bf16};

inline constexpr std::string_view name(HostIsa isa) {
  constexpr std::string_view names[] = {"baseline", "avx2", "avx512", "avx512_vnni", "avx512_bf16"};
  return names[int(isa)];
}

/// Whether this machine, its operating system included, runs the instruction set.
inline bool is_supported(HostIsa isa) {
#if defined(MOE_X86)
  if (isa == HostIsa::avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (isa == HostIsa::avx512) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && is_supported(HostIsa::avx2);
  }
  if (isa == HostIsa::avx512_vnni) return __builtin_cpu_supports("avx512vnni") && is_supported(HostIsa::avx512);
  if (isa == HostIsa::avx512_bf16) return __builtin_cpu_supports("avx512bf16") && is_supported(HostIsa::avx512_vnni);
#endif
  return isa == HostIsa::baseline;
}

namespace detail {

inline HostIsa checked_isa(HostIsa isa) {
  if (!is_supported(isa)) throw Error("moe::HostEngine: this CPU does not run " + std::string(name(isa)));
  return isa;
}

/// The best one, unless the environment variable MOE_HOST_ISA names another.
inline HostIsa default_isa() {
#if defined(MOE_HOST_ISA)
  return checked_isa(HostIsa::MOE_HOST_ISA);
#else
  const char* const wish = std::getenv("MOE_HOST_ISA");
  HostIsa best = HostIsa::baseline;
  for (const HostIsa isa : all_host_isas) {
    if (wish != nullptr && wish == name(isa)) return checked_isa(isa);
    if (is_supported(isa)) best = isa;
  }
  if (wish == nullptr) return best;
  std::string names;
  for (const HostIsa isa : all_host_isas) names += (names.empty() ? "" : ", ") + std::string(name(isa));
  throw Error("moe::HostEngine: expected MOE_HOST_ISA to be one of " + names + ", got " + std::string(wish));
#endif
}

inline std::atomic<HostIsa>& current_isa() {
  static std::atomic<HostIsa> isa = default_isa();
  return isa;
}

}  // namespace detail

/// The instruction set of the host engines that will be made: the best that this machine runs, or what the environment
/// variable MOE_HOST_ISA (their names) says. Compiled with -DMOE_HOST_ISA=avx2, say, that one and no other.
/// \throws Error if the machine does not run it.
inline HostIsa host_isa() { return detail::current_isa(); }

#if !defined(MOE_HOST_ISA)
/// Makes host engines from now on use this instruction set.
/// \throws Error if the machine does not run it.
inline void set_host_isa(HostIsa isa) { detail::current_isa() = detail::checked_isa(isa); }
#endif

}  // namespace moe
