#pragma once

#include "text.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

/// What xz makes of the held-out text, for comparison.
struct XzResult {
  std::string label;
  double bits_per_byte = 0;
  double seconds = 0;
};

namespace xz {

/// The size of the bytes after `xz -9`; nothing where there is no xz.
inline std::optional<std::size_t> compressed_size(const std::string& bytes, const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "xz-input.tmp";
  std::ofstream(file, std::ios::binary) << bytes;
  std::string quoted;
  for (const char c : file.string()) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  std::size_t size = 0;
  FILE* const pipe = popen(("xz -9 -c < '" + quoted + "' 2>/dev/null").c_str(), "r");
  if (pipe != nullptr) {
    std::array<char, 1 << 16> buffer;
    while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) size += n;
  }
  const bool succeeded = pipe != nullptr && pclose(pipe) == 0 && size > 0;
  std::filesystem::remove(file);
  return succeeded ? std::optional(size) : std::nullopt;
}

/// Bits per held-out byte: of these bytes alone, and of what they add to the training text when both are one file, since a
/// model has seen that too. Empty where there is no xz.
inline std::vector<XzResult> compare(const Text& text, const std::filesystem::path& folder) {
  using Clock = std::chrono::steady_clock;
  const std::string training = text.side(false), held_out = text.side(true);
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  const auto bits = [&](std::size_t bytes) { return 8.0 * double(bytes) / double(held_out.size()); };

  auto start = Clock::now();
  const auto alone = compressed_size(held_out, folder);
  if (!alone) return {};
  std::vector<XzResult> results{{"xz -9, held-out text alone", bits(*alone), since(start)}};
  start = Clock::now();
  const auto before = compressed_size(training, folder), both = compressed_size(training + held_out, folder);
  if (before && both) results.push_back({"xz -9, after the training text", bits(*both - *before), since(start)});
  return results;
}

}  // namespace xz
