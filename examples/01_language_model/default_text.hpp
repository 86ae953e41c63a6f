#pragma once

#include "text.hpp"

#include <cstddef>
#include <filesystem>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

inline constexpr char default_text[] = "this repository and the Kokkos headers it is built with";

/// The text of some files and folders; of none: the default.
inline Text read_text(const std::vector<std::string>& files, std::size_t max_bytes) {
  std::vector<std::filesystem::path> paths(files.begin(), files.end());
  if (paths.empty()) {
    paths = text::files_in(MOE_REPOSITORY);
    std::istringstream folders(MOE_KOKKOS_INCLUDES);
    for (std::string folder; std::getline(folders, folder, ':');) {
      for (auto& file : text::files_in(folder, "Kokkos_")) paths.push_back(std::move(file));
    }
  }
  return text::read(paths, max_bytes);
}
