# What every program on this language model needs. Included from a project of its own.

if(NOT TARGET moe::io)
  find_package(moe QUIET COMPONENTS io)
  if(NOT moe_FOUND)
    add_subdirectory("${CMAKE_CURRENT_LIST_DIR}/../.." moe)
  endif()
endif()
if(NOT TARGET CLI11::CLI11)
  find_package(CLI11 REQUIRED)
endif()
if(NOT TARGET Kokkos::kokkoscore)
  find_package(Kokkos REQUIRED)
endif()

# moe_add_language_model(<target> <output folder> <source>...): the program, with the headers of this folder, the text that
# it learns by default, which is this repository's and that of the Kokkos headers that it is built with, and its report.html
# as a string in report_html.hpp.
function(moe_add_language_model target output)
  moe_add_executable(${target} ${ARGN})
  target_link_libraries(${target} PRIVATE moe::io CLI11::CLI11)

  set(folder "${CMAKE_CURRENT_FUNCTION_LIST_DIR}")
  cmake_path(SET repository NORMALIZE "${folder}/../..")
  target_compile_definitions(
    ${target} PRIVATE "MOE_REPOSITORY=\"${repository}\"" "MOE_OUTPUT=\"${CMAKE_BINARY_DIR}/${output}\""
                      "MOE_KOKKOS_INCLUDES=\"$<JOIN:$<TARGET_PROPERTY:Kokkos::kokkoscore,INTERFACE_INCLUDE_DIRECTORIES>,:>\"")

  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS report.html "${folder}/page.css" "${folder}/page.js")
  file(READ report.html report)
  foreach(part IN ITEMS css js)
    file(READ "${folder}/page.${part}" content)
    string(REPLACE "@page_${part}@" "${content}" report "${report}")
  endforeach()
  file(CONFIGURE OUTPUT report_html.hpp CONTENT "inline constexpr char report_html[] = R\"html(@report@)html\";\n" @ONLY)
  target_include_directories(${target} PRIVATE "${folder}" "${CMAKE_CURRENT_BINARY_DIR}")
endfunction()
