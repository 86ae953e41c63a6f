# moe_require(<package>): finds the package, or fetches the release pinned here from GitHub, or says what to do.

include(FetchContent)
include("${CMAKE_CURRENT_LIST_DIR}/github.cmake")

function(moe_pin package version url sha256)
  set_property(GLOBAL PROPERTY moe_version_${package} ${version})
  # SYSTEM: their headers are not ours to warn about.
  FetchContent_Declare(${package} URL ${url} URL_HASH SHA256=${sha256} DOWNLOAD_EXTRACT_TIMESTAMP TRUE SYSTEM)
endfunction()

# The version is the oldest one that will do; what is fetched may be newer.
moe_pin(Kokkos 4.7
  https://github.com/kokkos/kokkos/releases/download/4.7.04/kokkos-4.7.04.tar.gz
  4213b248c39e112299fa94ee08817e51126fc02996ed6e2ab56aec4cdb80ee1f)
moe_pin(Catch2 3
  https://github.com/catchorg/Catch2/archive/refs/tags/v3.7.1.tar.gz
  c991b247a1a0d7bb9c39aa35faf0fe9e19764213f28ffba3109388e62ee0269c)
moe_pin(benchmark 1.7
  https://github.com/google/benchmark/archive/refs/tags/v1.9.1.tar.gz
  32131c08ee31eeff2c8968d7e874f3cb648034377dfc32a4c377fa8796d84981)
moe_pin(nlohmann_json 3.11
  https://github.com/nlohmann/json/releases/download/v3.11.3/json.tar.xz
  d6c65aca6b1ed68e7a182f4757257b107ae403032760ed6ef121c9d55e81757d)
moe_pin(CLI11 2.1
  https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.4.2.tar.gz
  f2d893a65c3b1324c50d4e682c0cdc021dd0477ae2c048544f39eed6654b699a)

# A macro, because what find_package sets must reach the caller.
macro(moe_require package)
  get_property(moe_version GLOBAL PROPERTY moe_version_${package})
  string(TOLOWER ${package} moe_target)
  if(NOT TARGET ${package}::${moe_target} AND NOT TARGET ${package}::${package})
    find_package(${package} ${moe_version} CONFIG QUIET)
    if(${package}_FOUND)
      message(STATUS "moe: found ${package} ${${package}_VERSION} in ${${package}_DIR}")
    else()
      moe_fetch(${package})
    endif()
  endif()
endmacro()

function(moe_fetch package)
  set(advice "install it, point -D ${package}_ROOT=<prefix> at it, or run tools/setup, which gets everything")
  if(NOT MOE_FETCH_DEPS)
    message(FATAL_ERROR "moe: ${package} ${moe_version} is not found: ${advice}. (MOE_FETCH_DEPS is off.)")
  endif()
  moe_github_reached(reached)
  if(NOT reached)
    message(FATAL_ERROR "moe: ${package} ${moe_version} is not found, and GitHub is not reached: ${advice}.")
  endif()
  message(STATUS "moe: fetching ${package} from GitHub")
  set(Kokkos_ENABLE_SERIAL ON CACHE BOOL "")
  find_package(OpenMP QUIET COMPONENTS CXX)
  set(Kokkos_ENABLE_OPENMP ${OpenMP_CXX_FOUND} CACHE BOOL "")
  set(CMAKE_CXX_STANDARD 20)
  set(BENCHMARK_ENABLE_TESTING OFF CACHE BOOL "")
  set(BENCHMARK_ENABLE_INSTALL OFF CACHE BOOL "")
  set(CLI11_BUILD_TESTS OFF CACHE BOOL "")
  set(CLI11_BUILD_EXAMPLES OFF CACHE BOOL "")
  FetchContent_MakeAvailable(${package})
endfunction()
