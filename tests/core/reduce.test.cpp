#include <moe/core/reduce.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <support/compare.hpp>
#include <support/views.hpp>
#include <type_traits>
#include <vector>

namespace {

template <class T>
struct Element {
  test::Rows<T> rows;
  KOKKOS_FUNCTION T operator()(std::int64_t row, std::int64_t column) const { return rows(row, column); }
};

template <class T>
std::vector<T> column_sums(const test::Rows<T>& rows, const std::vector<T>& before, bool accumulate) {
  const test::Exec exec;
  const int count = int(rows.extent(0)), columns = int(rows.extent(1));
  const std::string label = "test";
  moe::Arena<test::Memory> measure;
  (void)moe::detail::ColumnSum<T>(measure, count, columns);
  const Kokkos::View<std::byte*, test::Memory> memory("memory", measure.bytes() + 128);
  const auto skip = (128 - reinterpret_cast<std::uintptr_t>(memory.data()) % 128) % 128;
  moe::Arena<test::Memory> arena(memory.data() + skip, memory.size() - skip);
  const moe::detail::ColumnSum<T> column_sum(arena, count, columns);
  const auto sums = test::numbers<T>(before);
  column_sum(exec, label, count, columns, Element<T>{rows}, moe::detail::StoreSum<T>{sums.data(), accumulate});
  return test::to_host(sums);
}

}  // namespace

TEMPLATE_TEST_CASE("column sums, of any number of rows", "[core][reduce]", float, double, int) {
  using T = TestType;
  for (const int rows : {0, 1, 63, 64, 65, 222}) {
    for (const int columns : {1, 5, 130}) {
      CAPTURE(rows, columns);
      std::vector<double> values = test::uniform<float>(rows, rows * columns, 100);
      for (double& each : values) each = double(T(each));
      std::vector<double> sums(columns, 0.0), onto(columns, 3.0);
      for (int i = 0; i < rows * columns; ++i) sums[i % columns] += values[i], onto[i % columns] += values[i];
      const auto view = test::rows<T>(values, rows, columns);
      const std::vector<T> before(columns, T(3));
      const double few = std::is_same_v<T, int> ? 0 : 10 * test::tolerance<T>;
      CHECK(test::error(column_sums(view, before, false), sums) <= few);
      CHECK(test::error(column_sums(view, before, true), onto) <= few);
    }
  }
}
