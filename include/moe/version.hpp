#pragma once

#define MOE_VERSION_MAJOR 0
#define MOE_VERSION_MINOR 1
#define MOE_VERSION_PATCH 0

namespace moe {

/// The library's version, "major.minor.patch".
inline constexpr const char* version = "0.1.0";

}  // namespace moe
