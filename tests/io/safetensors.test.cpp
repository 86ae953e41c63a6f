#include <moe/io/safetensors.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <string>
#include <support/scratch.hpp>
#include <vector>

namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

std::string bytes_of(std::uint64_t length) {
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes;
}
/// A file with that header, and `data` bytes after it.
std::string file_of(const std::string& header, std::size_t data) {
  return bytes_of(header.size()) + header + std::string(data, '\0');
}

/// What safetensors 0.8.0 for Python wrote:
///   safetensors.numpy.save({"b": array([[1.5, -2], [0.25, 3], [4, 5]], float32), "a": array([7, -8], int64),
///                           "c": array(2.5), "e": zeros((0, 3), float32)}, {"who": "python"})
const std::string published =
    bytes_of(256) +
    R"({"__metadata__":{"who":"python"},"a":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},"c":{"dtype":"F64",)"
    R"("shape":[],"data_offsets":[16,24]},"b":{"dtype":"F32","shape":[3,2],"data_offsets":[24,48]},"e":{"dtype":"F32",)"
    R"("shape":[0,3],"data_offsets":[48,48]}} )" +
    std::string(
        "\x07\0\0\0\0\0\0\0\xf8\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\x04@\0\0\xc0?\0\0\0\xc0\0\0\x80>"
        "\0\0@@\0\0\x80@\0\0\xa0@",
        48);

}  // namespace

TEST_CASE("safetensors: a file of the published writer is read", "[io][safetensors]") {
  const test::Scratch scratch;
  test::write_file(scratch / "python", published);
  const moe::SafetensorsReader file(scratch / "python");
  CHECK(file.metadata() == moe::Metadata{{"who", "python"}});
  CHECK(file.entries().size() == 4);
  CHECK(file.read<float>("b", {3, 2}) == std::vector<float>{1.5f, -2, 0.25f, 3, 4, 5});
  CHECK(file.read<std::int64_t>("a", {2}) == std::vector<std::int64_t>{7, -8});
  CHECK(file.read<double>("c", {}) == std::vector<double>{2.5});
  CHECK(file.read<float>("e", {0, 3}).empty());
}

TEST_CASE("safetensors: what is written is read", "[io][safetensors]") {
  const test::Scratch scratch;
  const float nan = std::numeric_limits<float>::quiet_NaN(), tiny = std::numeric_limits<float>::denorm_min();
  moe::SafetensorsWriter writer;
  writer.add<std::uint8_t>("odd", {3}, [] { return std::vector<std::uint8_t>{1, 2, 255}; });
  writer.add<float>("name with \"quotes\" and \xc3\xa9", {2, 2}, [&] {
    return std::vector<float>{1, -0.0f, nan, tiny};
  });
  writer.add<double>("scalar", {}, [] { return std::vector<double>{0.1}; });
  writer.add<std::int64_t>("none", {2, 0}, [] { return std::vector<std::int64_t>{}; });
  writer.add<std::int32_t>("int", {1, 1, 1}, [] { return std::vector<std::int32_t>{-5}; });
  const moe::Metadata metadata{{"step", "3"}, {"text", "line\nbreak \"and\" quotes"}};
  writer.write(scratch / "file", metadata);

  const moe::SafetensorsReader file(scratch / "file");
  CHECK(file.metadata() == metadata);
  CHECK(file.read<std::uint8_t>("odd", {3}) == std::vector<std::uint8_t>{1, 2, 255});
  const auto values = file.read<float>("name with \"quotes\" and \xc3\xa9", {2, 2});
  const std::vector<float> expected{1, -0.0f, nan, tiny};
  CHECK(std::memcmp(values.data(), expected.data(), 16) == 0);
  CHECK(file.read<double>("scalar", {}) == std::vector<double>{0.1});
  CHECK(file.read<std::int64_t>("none", {2, 0}).empty());
  CHECK(file.read<std::int32_t>("int", {1, 1, 1}) == std::vector<std::int32_t>{-5});

  const std::string bytes = test::read_file(scratch / "file");
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof(header));
  CHECK(header % 8 == 0);
  for (const auto& [name, entry] : file.entries()) {
    CAPTURE(name);
    if (entry.end > entry.begin) CHECK(entry.begin % moe::detail::safetensors::bytes_of(entry.dtype) == 0);
  }
}

TEST_CASE("safetensors: an empty file of none is a file", "[io][safetensors]") {
  const test::Scratch scratch;
  moe::SafetensorsWriter().write(scratch / "file");
  CHECK(moe::SafetensorsReader(scratch / "file").entries().empty());
  CHECK(moe::SafetensorsReader(scratch / "file").metadata().empty());
}

TEST_CASE("safetensors: what is no safetensors file is told apart", "[io][safetensors]") {
  const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"a":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + first +
           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}";
  };
  struct Case {
    std::string what, bytes, sentence;
  };
  const std::vector<Case> cases{
      {"nothing at all", "", "is truncated: 0 bytes, and 8 give the header's length"},
      {"seven bytes", "1234567", "is truncated: 7 bytes"},
      {"no header", bytes_of(10), "is truncated: the header has 10 bytes, and 0 follow"},
      {"half a header", bytes_of(good.size()) + good.substr(0, 20), "is truncated: the header has"},
      {"a header without its last byte", bytes_of(good.size()) + good.substr(0, good.size() - 1),
       "is truncated: the header has"},
      {"a huge header", bytes_of(std::uint64_t(1) << 40) + good, "its header would have 1099511627776 bytes"},
      {"all ones", bytes_of(~std::uint64_t(0)) + good, "its header would have"},
      {"an empty header", file_of("", 0), "its header is no JSON object"},
      {"no object", file_of("[]", 0), "its header is no JSON object"},
      {"no JSON", file_of("{\"a\":", 0), "has a header that is no JSON"},
      {"not UTF-8", file_of("{\"\xff\":1}", 0), "has a header that is no JSON"},
      {"text after the object", file_of("{} x", 0), "has a header that is no JSON"},
      {"a number for a tensor", file_of(R"({"a":1})", 0), "tensor 'a': has no"},
      {"no dtype", file_of(R"({"a":{"shape":[],"data_offsets":[0,4]}})", 4), "tensor 'a': has no dtype"},
      {"no shape", file_of(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4), "tensor 'a': has no shape"},
      {"no offsets", file_of(R"({"a":{"dtype":"F32","shape":[]}})", 4), "tensor 'a': has no data_offsets"},
      {"dtype a number", file_of(entry("32", "[2]", "[0,8]"), 8), "dtype is no string"},
      {"dtype unknown", file_of(entry("\"F33\"", "[2]", "[0,8]"), 8), "unknown dtype F33"},
      {"shape a number", file_of(entry("\"F32\"", "2", "[0,8]"), 8), "shape is no array"},
      {"shape negative", file_of(entry("\"F32\"", "[-2]", "[0,8]"), 8), "shape holds -2"},
      {"shape a fraction", file_of(entry("\"F32\"", "[2.0]", "[0,8]"), 8), "shape holds 2.0"},
      {"shape beyond 64 bits", file_of(entry("\"F32\"", "[18446744073709551615]", "[0,8]"), 8), "which is no size"},
      {"shape overflows", file_of(entry("\"F32\"", "[4611686018427387904,4]", "[0,0]"), 0), "its shape is too large"},
      {"three offsets", file_of(entry("\"F32\"", "[2]", "[0,8,8]"), 8), "data_offsets are not two"},
      {"offsets backwards", file_of(entry("\"F32\"", "[2]", "[8,0]"), 8), "but its shape takes 8 bytes"},
      {"offsets too short", file_of(entry("\"F32\"", "[2]", "[0,4]"), 4), "but its shape takes 8 bytes"},
      {"offsets too long", file_of(entry("\"F32\"", "[2]", "[0,12]"), 12), "but its shape takes 8 bytes"},
      {"no data", file_of(good, 0), "is truncated: tensor 'a' ends at byte 8 of 0"},
      {"a byte is missing", file_of(good, 7), "is truncated: tensor 'a' ends at byte 8 of 7"},
      {"a byte too many", file_of(good, 9), "has 1 bytes after its last tensor"},
      {"a gap before", file_of(entry("\"F32\"", "[2]", "[4,12]"), 12), "leaves a gap after byte 0"},
      {"a gap between", file_of(two("[0,4]", "[5,9]"), 9), "tensor 'b' leaves a gap after byte 4"},
      {"an overlap", file_of(two("[0,4]", "[3,7]"), 7), "tensor 'b' overlaps another one at byte 3"},
      {"the same bytes", file_of(two("[0,4]", "[0,4]"), 4), "overlaps another one at byte 0"},
      {"a name twice", file_of(good.substr(0, good.size() - 1) + "," + good.substr(1), 8), "names tensor 'a' twice"},
      {"metadata an array", file_of(R"({"__metadata__":[]})", 0), "has a __metadata__ that is no object"},
      {"metadata a number", file_of(R"({"__metadata__":{"a":1}})", 0), "has metadata 'a' that is no string"},
  };
  const test::Scratch scratch;
  test::write_file(scratch / "good", file_of(good, 8));
  CHECK_NOTHROW(moe::SafetensorsReader(scratch / "good"));
  for (const Case& c : cases) {
    CAPTURE(c.what);
    test::write_file(scratch / "bad", c.bytes);
    CHECK_THROWS_MATCHES(
        moe::SafetensorsReader(scratch / "bad"), moe::Error,
        MessageMatches(ContainsSubstring(c.sentence) && ContainsSubstring((scratch / "bad").string())));
  }
}

TEST_CASE("safetensors: every prefix of a file is refused", "[io][safetensors]") {
  const test::Scratch scratch;
  for (std::size_t length = 0; length < published.size(); ++length) {
    CAPTURE(length);
    test::write_file(scratch / "prefix", published.substr(0, length));
    CHECK_THROWS_AS(moe::SafetensorsReader(scratch / "prefix"), moe::Error);
  }
}

TEST_CASE("safetensors: any byte of the header may be wrong", "[io][safetensors]") {
  const test::Scratch scratch;
  for (std::size_t at = 0; at < published.size() - 48; ++at) {
    for (const char value : {'\0', '\xff', '"', '9', '}'}) {
      std::string bytes = published;
      bytes[at] = value;
      test::write_file(scratch / "changed", bytes);
      try {
        const moe::SafetensorsReader file(scratch / "changed");
        for (const auto& [name, entry] : file.entries()) {
          if (entry.dtype == "F32") CHECK_NOTHROW(file.read<float>(name, entry.shape));
        }
      } catch (const moe::Error&) {}
    }
  }
}

TEST_CASE("safetensors: what a tensor is asked for must be what it is", "[io][safetensors]") {
  const test::Scratch scratch;
  test::write_file(scratch / "file", published);
  const moe::SafetensorsReader file(scratch / "file");
  CHECK_THROWS_MATCHES(file.read<float>("d", {}), moe::Error, MessageMatches(ContainsSubstring("has no tensor 'd'")));
  CHECK_THROWS_MATCHES(file.read<double>("b", {3, 2}), moe::Error,
                       MessageMatches(ContainsSubstring("tensor 'b': expected dtype F64, got F32")));
  CHECK_THROWS_MATCHES(file.read<float>("b", {2, 3}), moe::Error,
                       MessageMatches(ContainsSubstring("tensor 'b': expected shape [2, 3], got [3, 2]")));
  CHECK_THROWS_MATCHES(file.read<float>("b", {6}), moe::Error, MessageMatches(ContainsSubstring("got [3, 2]")));
}

TEST_CASE("safetensors: a path that cannot be read or written is told", "[io][safetensors]") {
  const test::Scratch scratch;
  moe::SafetensorsWriter writer;
  writer.add<float>("a", {1}, [] { return std::vector<float>{1}; });
  CHECK_THROWS_MATCHES(moe::SafetensorsReader(scratch / "missing"), moe::Error,
                       MessageMatches(ContainsSubstring("cannot be opened: No such file or directory")));
  CHECK_THROWS_MATCHES(moe::SafetensorsReader(scratch.path()), moe::Error,
                       MessageMatches(ContainsSubstring("is a directory")));
  CHECK_THROWS_MATCHES(writer.write(scratch.path()), moe::Error, MessageMatches(ContainsSubstring("is a directory")));
  CHECK_THROWS_MATCHES(writer.write(scratch / "no/such/file"), moe::Error,
                       MessageMatches(ContainsSubstring("cannot be written: No such file or directory")));
  test::write_file(scratch / "file", "text");
  CHECK_THROWS_MATCHES(writer.write(scratch / "file/below"), moe::Error,
                       MessageMatches(ContainsSubstring("cannot be written: Not a directory")));
#if defined(__linux__)
  if (std::filesystem::exists("/dev/full")) {
    std::filesystem::create_symlink("/dev/full", scratch / "full.partial");
    CHECK_THROWS_MATCHES(writer.write(scratch / "full"), moe::Error,
                         MessageMatches(ContainsSubstring("cannot be written: No space left on device")));
  }
#endif
}

TEST_CASE("safetensors: a write that fails leaves the file that was there", "[io][safetensors]") {
  const test::Scratch scratch;
  moe::SafetensorsWriter good, bad;
  good.add<float>("a", {2}, [] { return std::vector<float>{1, 2}; });
  good.write(scratch / "file");
  const std::string before = test::read_file(scratch / "file");
  bad.add<float>("a", {2}, [] { return std::vector<float>{3, 4}; });
  bad.add<float>("b", {2}, []() -> std::vector<float> { throw moe::Error("the device is gone"); });
  CHECK_THROWS_MATCHES(bad.write(scratch / "file"), moe::Error, MessageMatches(ContainsSubstring("device is gone")));
  CHECK(test::read_file(scratch / "file") == before);

  moe::SafetensorsWriter short_one;
  short_one.add<float>("a", {2}, [] { return std::vector<float>{3}; });
  CHECK_THROWS_MATCHES(short_one.write(scratch / "file"), moe::Error,
                       MessageMatches(ContainsSubstring("expected number of values = 2, got 1")));
  CHECK(test::read_file(scratch / "file") == before);
  int files = 0;
  for ([[maybe_unused]] const auto& file : std::filesystem::directory_iterator(scratch.path())) ++files;
  CHECK(files == 1);  // nothing is left over

  moe::SafetensorsWriter next;
  next.add<float>("c", {1}, [] { return std::vector<float>{9}; });
  test::write_file(scratch / "file.partial", "left by a program that died");
  next.write(scratch / "file");
  CHECK(moe::SafetensorsReader(scratch / "file").read<float>("c", {1}) == std::vector<float>{9});
  CHECK_FALSE(std::filesystem::exists(scratch / "file.partial"));
}

TEST_CASE("safetensors: names that a file cannot have", "[io][safetensors]") {
  const test::Scratch scratch;
  const auto one = [] { return std::vector<float>{1}; };
  moe::SafetensorsWriter writer;
  writer.add<float>("a", {1}, one);
  CHECK_THROWS_MATCHES(writer.add<float>("a", {1}, one), moe::Error,
                       MessageMatches(ContainsSubstring("two tensors are called 'a'")));
  CHECK_THROWS_AS(writer.add<float>("__metadata__", {1}, one), moe::Error);
  writer.add<float>("\xff", {1}, one);
  CHECK_THROWS_MATCHES(writer.write(scratch / "file"), moe::Error, MessageMatches(ContainsSubstring("not UTF-8")));
  CHECK_FALSE(std::filesystem::exists(scratch / "file"));
}
