// Lets Kokkos 4.7.00 compile under CUDA 13, which changed two functions after that release. Force-included by the preset
// `cuda` and by the build of that Kokkos; not installed, and not needed from Kokkos 4.7.01 on, which knows CUDA 13.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>

#if CUDART_VERSION >= 13000

inline cudaError_t cudaGraphAddDependencies(cudaGraph_t graph, cudaGraphNode_t const* from, cudaGraphNode_t const* to,
                                            size_t count) {
  return cudaGraphAddDependencies(graph, from, to, nullptr, count);
}

inline cudaError_t cudaMemPrefetchAsync(void const* data, size_t bytes, int device, cudaStream_t stream = nullptr) {
  cudaMemLocation location{};
  location.type = device == cudaCpuDeviceId ? cudaMemLocationTypeHost : cudaMemLocationTypeDevice;
  location.id = device;
  return cudaMemPrefetchAsync(data, bytes, location, 0, stream);
}

#endif
#endif
