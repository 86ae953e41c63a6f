#pragma once

#include "error.hpp"
#include "report_html.hpp"  // report.html as a string, made by CMake

#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace report {

/// One page that needs nothing beside it: the data go into the template, whose script draws them.
inline void write(const std::filesystem::path& path, const nlohmann::json& data) {
  std::string json = data.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  for (std::size_t at = 0; (at = json.find("</", at)) != std::string::npos; at += 2) json.replace(at, 2, "<\\/");
  std::string page = report_html;
  const std::string_view place = "/*data*/null/*data*/";
  page.replace(page.find(place), place.size(), json);
  std::ofstream file(path, std::ios::binary);
  file << page;
  if (!file.flush()) throw UsageError("cannot write " + path.string());
}

}  // namespace report
