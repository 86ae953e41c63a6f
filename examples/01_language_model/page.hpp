#pragma once

#include "error.hpp"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace page {

/// One page that needs nothing beside it: the data go into the template, whose script draws them.
inline void write(const std::filesystem::path& path, std::string page, const nlohmann::json& data) {
  std::string json = data.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  for (std::size_t at = 0; (at = json.find('<', at)) != std::string::npos;) json.replace(at, 1, "\\u003c");  // no tags
  const std::string_view place = "/*data*/null/*data*/";
  page.replace(page.find(place), place.size(), json);
  std::ofstream file(path, std::ios::binary);
  file << page;
  if (!file.flush()) throw UsageError("cannot write " + path.string());
}

}  // namespace page
