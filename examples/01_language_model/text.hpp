#pragma once

#include "error.hpp"

#include <moe/core/random.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// The model sees this many bytes and predicts the next one.
inline constexpr int context_bytes = 16;

/// The text, and which of its bytes are learnt and which are held out.
///
/// Every tenth block of 4 kB is held out. A byte is predicted only where the bytes before it, its context, lie on the
/// same side of each cut: so no held-out byte is ever seen in training, not even as context, and no held-out byte is
/// predicted from training text. (What the text itself repeats, a licence at the top of each file, stays repeated.)
struct Text {
  static constexpr std::size_t block_bytes = 4096;
  static constexpr std::size_t held_out_every = 10;

  std::string bytes;
  int num_files = 0;
  std::size_t left_out = 0;  ///< bytes beyond the limit

  std::vector<std::uint32_t> training;  ///< positions of the bytes to predict
  std::vector<std::uint32_t> held_out;

  static bool is_held_out(std::size_t position) {
    return position / block_bytes % held_out_every == held_out_every - 1;
  }

  /// The held-out bytes in a row, or the others: what a compressor is given.
  std::string side(bool held_out_side) const {
    std::string result;
    for (std::size_t begin = 0; begin < bytes.size(); begin += block_bytes) {
      if (is_held_out(begin) == held_out_side) result += bytes.substr(begin, block_bytes);
    }
    return result;
  }

  /// A number that changes when the text does: a run continues only on the text that it began with.
  std::uint64_t digest() const { return moe::stream_of(bytes); }
};

namespace text {

namespace fs = std::filesystem;

/// Bytes as printable text: \xNN stands for what is not.
inline std::string printable(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\\') {
      text += "\\\\";
    } else if (c == '\n' || (byte >= 32 && byte < 127)) {
      text += c;
    } else if (c == '\t') {
      text += "\\t";
    } else {
      constexpr std::string_view digits = "0123456789abcdef";
      text += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    }
  }
  return text;
}

inline std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw UsageError("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The files of a folder that are text, in the order of their paths. Hidden and build folders are passed over.
inline std::vector<fs::path> files_in(const fs::path& folder, std::string_view prefix = "") {
  static constexpr std::string_view endings[] = {".hpp", ".h",  ".cpp", ".c",  ".cc",    ".cu", ".py",
                                                 ".rs",  ".go", ".js",  ".md", ".cmake", ".sh", ".txt"};
  std::vector<fs::path> files;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error), end;
  if (error) throw UsageError("cannot read the folder " + folder.string() + ": " + error.message());
  for (; entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (entry->is_directory(error) && (name.starts_with('.') || name.starts_with("build"))) {
      entry.disable_recursion_pending();
    } else if (entry->is_regular_file(error) && name.starts_with(prefix) &&
               std::ranges::find(endings, entry->path().extension().string()) != std::end(endings)) {
      files.push_back(entry->path());
    }
  }
  if (error) throw UsageError("cannot read the folder " + folder.string() + ": " + error.message());
  std::ranges::sort(files, {}, [](const fs::path& path) { return path.generic_string(); });
  return files;
}

/// Marks which bytes are learnt and which are held out.
inline Text split(Text text) {
  constexpr std::size_t least = Text::block_bytes * Text::held_out_every;
  if (text.bytes.size() < least) {
    throw UsageError("the text is too short: it has " + std::to_string(text.bytes.size()) + " bytes and needs " +
                     std::to_string(least) + ", ten blocks of 4 kB of which one is held out");
  }
  std::size_t run = 0;  // bytes since the last cut
  for (std::size_t position = 0; position < text.bytes.size(); ++position, ++run) {
    const bool held_out = Text::is_held_out(position);
    if (position > 0 && held_out != Text::is_held_out(position - 1)) run = 0;
    if (run >= context_bytes) (held_out ? text.held_out : text.training).push_back(std::uint32_t(position));
  }
  return text;
}

/// Reads files in the order given, and folders by the order of their paths, up to `most` bytes.
inline Text read(const std::vector<fs::path>& paths, std::size_t most) {
  Text text;
  const auto append = [&](std::string bytes) {
    const std::size_t kept = std::min(bytes.size(), most - text.bytes.size());
    text.left_out += bytes.size() - kept;
    text.bytes.append(bytes, 0, kept);
    if (kept > 0) ++text.num_files;
  };
  for (const fs::path& path : paths) {
    std::error_code error;
    if (!fs::exists(path, error)) throw UsageError("there is no file " + path.string());
    if (fs::is_directory(path, error)) {
      for (const fs::path& file : files_in(path)) append(read_file(file));
      continue;
    }
    std::string bytes = read_file(path);
    if (bytes.empty()) throw UsageError(path.string() + " is empty");
    append(std::move(bytes));
  }
  return split(std::move(text));
}

}  // namespace text

/// The order in which training positions are visited: each once, shuffled, then all of them again in another order. A
/// function of the seed alone, so that a run can be taken up at any step.
class Shuffled {
 public:
  Shuffled(const std::vector<std::uint32_t>& positions, std::uint64_t seed) : positions_(positions), seed_(seed) {}

  std::uint32_t operator[](std::uint64_t i) {
    if (order_.empty() || i / positions_.size() != epoch_) shuffle(i / positions_.size());
    return order_[i % order_.size()];
  }

 private:
  void shuffle(std::uint64_t epoch) {
    epoch_ = epoch;
    order_ = positions_;
    const moe::Random random{seed_, moe::stream_of("order") + epoch};
    for (std::size_t i = order_.size() - 1; i > 0; --i) {
      std::swap(order_[i], order_[std::size_t(random.uniform<double>(i) * double(i + 1))]);
    }
  }

  const std::vector<std::uint32_t>& positions_;
  std::uint64_t seed_;
  std::uint64_t epoch_ = 0;
  std::vector<std::uint32_t> order_;
};
