# install, and find_package(moe [COMPONENTS io]) for who uses what was installed

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(moe_cmake_dir "${CMAKE_INSTALL_DATADIR}/cmake/moe")
install(TARGETS moe EXPORT moeTargets FILE_SET HEADERS)
install(FILES ${MOE_IO_HEADERS} DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/moe/io")
install(EXPORT moeTargets NAMESPACE moe:: DESTINATION "${moe_cmake_dir}")

configure_package_config_file(cmake/moeConfig.cmake.in moeConfig.cmake INSTALL_DESTINATION "${moe_cmake_dir}")
# Headers fit every architecture, so the version file must not ask for the one that they were installed on.
write_basic_package_version_file(moeConfigVersion.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/moeConfig.cmake" "${PROJECT_BINARY_DIR}/moeConfigVersion.cmake"
              cmake/moe_add_executable.cmake DESTINATION "${moe_cmake_dir}")
