#pragma once

#include <moe/core/error.hpp>
#include <moe/core/float16.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <span>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace moe {

/// \file
/// The safetensors format (github.com/huggingface/safetensors): 8 bytes with the length of the header, a JSON header
/// `{"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ..., "__metadata__": {"key": "text"}}`, and the
/// elements, little-endian, row-major, without gaps. Needs nlohmann-json, so moe.hpp leaves it out.

static_assert(std::endian::native == std::endian::little, "moe: safetensors files are read and written as they lie");

/// Free text in a file, beside the tensors.
using Metadata = std::map<std::string, std::string>;

namespace detail::safetensors {

template <class T>
inline constexpr const char* dtype_of = nullptr;
template <>
inline constexpr const char* dtype_of<float> = "F32";
template <>
inline constexpr const char* dtype_of<double> = "F64";
template <>
inline constexpr const char* dtype_of<bfloat16> = "BF16";
template <>
inline constexpr const char* dtype_of<half> = "F16";
template <>
inline constexpr const char* dtype_of<std::int64_t> = "I64";
template <>
inline constexpr const char* dtype_of<std::int32_t> = "I32";
template <>
inline constexpr const char* dtype_of<std::uint8_t> = "U8";

/// Bytes of an element, or 0 for a type that the format does not know.
inline std::int64_t bytes_of(const std::string& dtype) {
  static const std::map<std::string, std::int64_t> sizes{
      {"BOOL", 1}, {"U8", 1},   {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1}, {"I16", 2}, {"U16", 2},
      {"F16", 2},  {"BF16", 2}, {"I32", 4}, {"U32", 4},     {"F32", 4},     {"I64", 8},     {"U64", 8}, {"F64", 8}};
  const auto found = sizes.find(dtype);
  return found == sizes.end() ? 0 : found->second;
}

inline std::string text_of(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

/// The header may not be longer, as in the format's own implementation.
inline constexpr std::uint64_t max_header_bytes = 100'000'000;

}  // namespace detail::safetensors

/// What a file says about one of its tensors.
struct SafetensorsEntry {
  std::string dtype;  ///< "F32", "F64", "I64", ...
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0;  ///< bytes, from the end of the header
  std::int64_t end = 0;
};

/// A file that is open for reading. Its header is checked as a whole when it is opened; elements are read when asked for.
class SafetensorsReader {
 public:
  /// \throws Error if the file cannot be read, or is not a safetensors file from its first byte to its last.
  explicit SafetensorsReader(std::filesystem::path path) : path_(std::move(path)) {
    std::error_code error;
    if (std::filesystem::is_directory(path_, error)) fail("is a directory");
    file_.open(path_, std::ios::binary);
    if (!file_) fail(std::string("cannot be opened: ") + std::strerror(errno));
    const std::uint64_t bytes = std::filesystem::file_size(path_, error);
    if (error) fail("cannot be read: " + error.message());
    std::uint64_t length = 0;
    if (bytes < sizeof(length))
      fail("is truncated: " + std::to_string(bytes) + " bytes, and 8 give the header's length");
    read_bytes(0, &length, sizeof(length));
    if (length > detail::safetensors::max_header_bytes) {
      fail("is not a safetensors file: its header would have " + std::to_string(length) + " bytes");
    }
    if (length > bytes - sizeof(length)) {
      fail("is truncated: the header has " + std::to_string(length) + " bytes, and " +
           std::to_string(bytes - sizeof(length)) + " follow");
    }
    std::string header(length, '\0');
    read_bytes(sizeof(length), header.data(), length);
    data_ = sizeof(length) + length;
    parse(header);
    check_offsets(std::int64_t(bytes - data_));
  }

  const std::filesystem::path& path() const { return path_; }
  /// By name.
  const std::map<std::string, SafetensorsEntry>& entries() const { return entries_; }
  const Metadata& metadata() const { return metadata_; }

  /// \throws Error if there is no tensor of that name, type and shape.
  template <class T>
  const SafetensorsEntry& expect(const std::string& name, const std::vector<std::int64_t>& shape) const {
    using namespace detail::safetensors;
    const auto found = entries_.find(name);
    if (found == entries_.end()) fail("has no tensor '" + name + "'");
    const SafetensorsEntry& entry = found->second;
    if (entry.dtype != dtype_of<T>) {
      fail("tensor '" + name + "': expected dtype " + dtype_of<T> + ", got " + entry.dtype);
    }
    if (entry.shape != shape) {
      fail("tensor '" + name + "': expected shape " + text_of(shape) + ", got " + text_of(entry.shape));
    }
    return entry;
  }

  /// The elements in row-major order.
  /// \throws Error if there is no tensor of that name, type and shape.
  template <class T>
  std::vector<T> read(const std::string& name, const std::vector<std::int64_t>& shape) const {
    static_assert(detail::safetensors::dtype_of<T> != nullptr,
                  "moe: tensors are read as float, double, std::int64_t, std::int32_t or std::uint8_t");
    const SafetensorsEntry& entry = expect<T>(name, shape);
    std::vector<T> values(std::size_t(entry.end - entry.begin) / sizeof(T));
    read_bytes(data_ + std::uint64_t(entry.begin), values.data(), std::uint64_t(entry.end - entry.begin));
    return values;
  }

  /// Elements in row-major order from the one with the index `first` on, as many as `to` has room for: a tensor that is
  /// read piece by piece.
  /// \throws Error if there is no tensor of that name and type, or if it has not so many elements.
  template <class T>
  void read(const std::string& name, std::int64_t first, std::span<T> to) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) fail("has no tensor '" + name + "'");
    const SafetensorsEntry& entry = expect<T>(name, found->second.shape);
    const std::int64_t elements = (entry.end - entry.begin) / std::int64_t(sizeof(T)), count = std::int64_t(to.size());
    if (first < 0 || first > elements || count > elements - first) {
      fail("tensor '" + name + "': expected elements up to " + std::to_string(elements) + ", got " +
           std::to_string(first) + " and " + std::to_string(count) + " from there");
    }
    read_bytes(data_ + std::uint64_t(entry.begin) + std::uint64_t(first) * sizeof(T), to.data(), to.size_bytes());
  }

  [[noreturn]] void fail(const std::string& sentence) const { throw Error("moe: " + path_.string() + " " + sentence); }

 private:
  void read_bytes(std::uint64_t at, void* to, std::uint64_t bytes) const {
    file_.clear();
    file_.seekg(std::streamoff(at));
    file_.read(static_cast<char*>(to), std::streamsize(bytes));
    if (!file_) fail("ended while it was read");
  }

  void parse(const std::string& header) {
    using nlohmann::json;
    if (header.empty() || header[0] != '{') fail("is not a safetensors file: its header is no JSON object");
    // The parser keeps the last of two equal keys: a tensor would vanish without a word.
    std::set<std::string> names;
    std::string twice;
    const json::parser_callback_t remember = [&](int depth, json::parse_event_t event, json& parsed) {
      if (depth == 1 && event == json::parse_event_t::key && !names.insert(parsed.get<std::string>()).second) {
        twice = parsed.get<std::string>();
      }
      return true;
    };
    json parsed;
    try {
      parsed = json::parse(header, remember);
    } catch (const json::exception& error) {
      fail(std::string("has a header that is no JSON: ") + error.what());
    }
    if (!twice.empty()) fail("names tensor '" + twice + "' twice");
    for (const auto& [name, value] : parsed.items()) {
      if (name == "__metadata__") {
        read_metadata(value);
      } else {
        entries_.emplace(name, entry_of(name, value));
      }
    }
  }

  void read_metadata(const nlohmann::json& value) {
    if (!value.is_object()) fail("has a __metadata__ that is no object");
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) fail("has metadata '" + key + "' that is no string");
      metadata_.emplace(key, text.get<std::string>());
    }
  }

  SafetensorsEntry entry_of(const std::string& name, const nlohmann::json& value) const {
    const std::string which = "tensor '" + name + "': ";
    const auto member = [&](const char* key) -> const nlohmann::json& {
      if (!value.is_object() || !value.contains(key)) fail(which + "has no " + key);
      return value[key];
    };
    const auto numbers = [&](const char* key) {
      std::vector<std::int64_t> list;
      if (!member(key).is_array()) fail(which + key + " is no array");
      for (const auto& number : member(key)) {
        if (!number.is_number_unsigned() ||
            number.get<std::uint64_t>() > std::uint64_t(std::numeric_limits<std::int64_t>::max())) {
          fail(which + key + " holds " + number.dump() + ", which is no size");
        }
        list.push_back(std::int64_t(number.get<std::uint64_t>()));
      }
      return list;
    };
    if (!member("dtype").is_string()) fail(which + "dtype is no string");
    const std::vector<std::int64_t> offsets = numbers("data_offsets");
    if (offsets.size() != 2) fail(which + "data_offsets are not two");
    const SafetensorsEntry entry{member("dtype").get<std::string>(), numbers("shape"), offsets[0], offsets[1]};

    std::int64_t bytes = detail::safetensors::bytes_of(entry.dtype);
    if (bytes == 0) fail(which + "unknown dtype " + entry.dtype);
    const bool none = std::find(entry.shape.begin(), entry.shape.end(), 0) != entry.shape.end();
    for (const std::int64_t extent : entry.shape) {
      if (!none && bytes > std::numeric_limits<std::int64_t>::max() / extent) fail(which + "its shape is too large");
      bytes = none ? 0 : bytes * extent;
    }
    if (entry.end < entry.begin || entry.end - entry.begin != bytes) {
      fail(which + "data_offsets " + detail::safetensors::text_of(offsets) + ", but its shape takes " +
           std::to_string(bytes) + " bytes");
    }
    return entry;
  }

  /// The tensors cover the data without a gap and without an overlap, to the last byte.
  void check_offsets(std::int64_t bytes) const {
    std::vector<std::pair<SafetensorsEntry, std::string>> order;
    for (const auto& [name, entry] : entries_) order.emplace_back(entry, name);
    std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
      return std::pair(a.first.begin, a.first.end) < std::pair(b.first.begin, b.first.end);
    });
    std::int64_t at = 0;
    for (const auto& [entry, name] : order) {
      const std::string which = "tensor '" + name + "' ";
      if (entry.begin < at) fail(which + "overlaps another one at byte " + std::to_string(entry.begin));
      if (entry.begin > at) fail(which + "leaves a gap after byte " + std::to_string(at));
      if (entry.end > bytes) {
        fail("is truncated: " + which + "ends at byte " + std::to_string(entry.end) + " of " + std::to_string(bytes));
      }
      at = entry.end;
    }
    if (at != bytes) fail("has " + std::to_string(bytes - at) + " bytes after its last tensor");
  }

  std::filesystem::path path_;
  mutable std::ifstream file_;
  std::uint64_t data_ = 0;
  std::map<std::string, SafetensorsEntry> entries_;
  Metadata metadata_;
};

/// Writes a file: first the names, types and shapes of all tensors, then the elements of one after the other, so that no
/// more than one of them is in memory twice.
class SafetensorsWriter {
 public:
  /// A tensor that the file shall have; `values` is called when it is written.
  /// \throws Error if the name is taken.
  template <class T>
  void add(const std::string& name, const std::vector<std::int64_t>& shape, std::function<std::vector<T>()> values) {
    static_assert(detail::safetensors::dtype_of<T> != nullptr,
                  "moe: tensors are written as float, double, std::int64_t, std::int32_t or std::uint8_t");
    if (name == "__metadata__") throw Error("moe::SafetensorsWriter: no tensor can be called __metadata__");
    if (!names_.insert(name).second) {
      throw Error("moe::SafetensorsWriter: two tensors are called '" + name +
                  "'; make each block's with a path of its own: block.make_parameters(moe::ParameterMaker(exec, "
                  "seed).in(\"head\"))");
    }
    std::int64_t count = 1;
    for (const std::int64_t extent : shape) count *= extent;
    tensors_.push_back({name, detail::safetensors::dtype_of<T>, shape, std::int64_t(sizeof(T)),
                        count * std::int64_t(sizeof(T)), [name, count, values = std::move(values)](const Sink& sink) {
                          const std::vector<T> elements = values();
                          detail::expect_extent(("moe::SafetensorsWriter, " + name).c_str(), "number of values", count,
                                                std::int64_t(elements.size()));
                          sink(elements.data(), elements.size() * sizeof(T));
                        }});
  }

  /// Writes beside the path and renames at the end: a program that dies leaves the file that was there.
  /// \throws Error if the file cannot be written; what was there is then as it was.
  void write(const std::filesystem::path& path, const Metadata& metadata = {}) const {
    std::vector<const Entry*> order;
    for (const Entry& tensor : tensors_) order.push_back(&tensor);
    // The widest elements first, so that each tensor lies at a multiple of its element's size.
    std::stable_sort(order.begin(), order.end(),
                     [](const Entry* a, const Entry* b) { return a->element_bytes > b->element_bytes; });
    const std::string header = header_of(order, metadata);

    std::error_code error;
    if (std::filesystem::is_directory(path, error)) fail(path, "is a directory");
    std::filesystem::path beside = path;
    beside += ".partial";
    std::FILE* const file = std::fopen(beside.string().c_str(), "wb");
    if (file == nullptr) fail(beside, std::string("cannot be written: ") + std::strerror(errno));
    try {
      const Sink sink = [&](const void* data, std::size_t bytes) {
        if (bytes > 0 && std::fwrite(data, 1, bytes, file) != bytes) {
          fail(beside, std::string("cannot be written: ") + std::strerror(errno));
        }
      };
      const std::uint64_t length = header.size();
      sink(&length, sizeof(length));
      sink(header.data(), header.size());
      for (const Entry* tensor : order) tensor->write(sink);
      if (std::fflush(file) != 0 || !synchronise(file)) {
        fail(beside, std::string("cannot be written: ") + std::strerror(errno));
      }
    } catch (...) {
      std::fclose(file);
      std::filesystem::remove(beside, error);
      throw;
    }
    std::fclose(file);
    std::filesystem::rename(beside, path, error);
    if (!error) return;
    std::error_code ignored;
    std::filesystem::remove(beside, ignored);
    fail(path, "cannot be written: " + error.message());
  }

 private:
  using Sink = std::function<void(const void*, std::size_t)>;
  struct Entry {
    std::string name;
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::int64_t element_bytes;
    std::int64_t bytes;
    std::function<void(const Sink&)> write;
  };

  static std::string header_of(const std::vector<const Entry*>& order, const Metadata& metadata) {
    nlohmann::json header = nlohmann::json::object();
    if (!metadata.empty()) header["__metadata__"] = metadata;
    std::int64_t at = 0;
    for (const Entry* tensor : order) {
      header[tensor->name] = {
          {"dtype", tensor->dtype}, {"shape", tensor->shape}, {"data_offsets", {at, at + tensor->bytes}}};
      at += tensor->bytes;
    }
    std::string text;
    try {
      text = header.dump();
    } catch (const nlohmann::json::exception& error) {
      throw Error(std::string("moe::SafetensorsWriter: a name or metadata is not UTF-8: ") + error.what());
    }
    text.resize((text.size() + 7) / 8 * 8, ' ');
    return text;
  }

  static bool synchronise([[maybe_unused]] std::FILE* file) {
#if defined(__unix__) || defined(__APPLE__)
    return fsync(fileno(file)) == 0 || errno == EINVAL || errno == ENOTSUP;  // a pipe has nothing to synchronise
#else
    return true;
#endif
  }
  [[noreturn]] static void fail(const std::filesystem::path& path, const std::string& sentence) {
    throw Error("moe: " + path.string() + " " + sentence);
  }

  std::vector<Entry> tensors_;
  std::set<std::string> names_;
};

}  // namespace moe
