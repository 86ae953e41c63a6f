#pragma once

#include <Kokkos_Macros.hpp>

/// A function that is always inlined. Everything that an epilogue calls is one: the leaves of the host engine are
/// compiled for an instruction set of their own, and what is inlined into them is compiled for the same.
#define MOE_INLINE KOKKOS_FORCEINLINE_FUNCTION
