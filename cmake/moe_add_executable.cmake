# moe_add_executable(<name> <source>...)
#
# add_executable, linked to moe::moe, compiled the way that its Kokkos wants: where Kokkos was built with CMake's CUDA or HIP
# language, the sources are compiled as that language; where it was built by nvcc_wrapper, hipcc or a host compiler,
# they are C++ and there is nothing to do.
function(moe_add_executable name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE moe::moe)
  moe_set_language(${name})
endfunction()

# moe_set_language(<target>): the same for a target that exists.
function(moe_set_language target)
  set(language "${Kokkos_COMPILE_LANGUAGE}")
  if(language STREQUAL "" OR language STREQUAL "CXX")
    return()
  endif()
  if(NOT CMAKE_${language}_COMPILER)
    message(FATAL_ERROR "${target}: this Kokkos is compiled as ${language}; add enable_language(${language}) "
                        "or project(... LANGUAGES CXX ${language}) before find_package(moe)")
  endif()
  get_target_property(sources ${target} SOURCES)
  set_source_files_properties(${sources} PROPERTIES LANGUAGE ${language})
  set_target_properties(${target} PROPERTIES ${language}_STANDARD 20 ${language}_STANDARD_REQUIRED ON
                                             ${language}_ARCHITECTURES "${Kokkos_${language}_ARCHITECTURES}")
endfunction()
