#include <moe/core/tensor.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <numeric>
#include <support/compare.hpp>
#include <support/views.hpp>
#include <vector>

namespace {

template <class LayoutT, class T = float>
moe::Tensor<T, test::Memory, LayoutT> make() {
  return {test::Exec(), "t", {3, 2, 9, 5}, 3, {2, 9, 5}, {.trainable = true, .decay = false}};
}

template <class T = float>
std::vector<T> counted(std::size_t n) {
  std::vector<T> values(n);
  std::iota(values.begin(), values.end(), T(1));
  return values;
}

}  // namespace

TEMPLATE_TEST_CASE("a tensor holds its elements in logical order, in any layout", "[core][tensor]", moe::RowMajor,
                   moe::Panels) {
  const auto tensor = make<TestType>();
  CHECK(tensor.size() == 270);
  CHECK(tensor.count() == 3);
  CHECK_FALSE(tensor.empty());
  CHECK(test::all_zero(test::to_host(tensor.storage)));  // padding too
  moe::assign(tensor, counted(270));
  CHECK(moe::to_host(tensor) == counted(270));

  const auto mirror = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), tensor.storage);
  const moe::TensorAccess<const float, TestType> access{mirror.data(), tensor.extents()};
  CHECK(access(0, 0, 0, 1) == 2);
  CHECK(access(0, 0, 1, 0) == 6);
  CHECK(access(0, 1, 0, 0) == 46);
  CHECK(access(2, 1, 8, 4) == 270);
  CHECK(access[269] == 270);
}

TEST_CASE("a tensor's elements are found by logical position, whatever the layout", "[core][tensor]") {
  const auto rows = make<moe::RowMajor>();
  const auto panels = make<moe::Panels>();
  moe::assign(rows, counted(270));
  moe::assign(panels, counted(270));
  CHECK(moe::to_host(rows) == moe::to_host(panels));
  CHECK(rows.storage.size() == 270);
  CHECK(panels.storage.size() == 3 * 2 * 5 * 16);
}

TEST_CASE("assign wants exactly the tensor's elements", "[core][tensor]") {
  using Catch::Matchers::Message;
  const auto tensor = make<moe::Panels>();
  CHECK_THROWS_MATCHES(moe::assign(tensor, counted(269)), moe::Error,
                       Message("moe::assign(t): expected number of values = 270, got 269"));
  CHECK_THROWS_MATCHES(moe::assign(tensor, counted(271)), moe::Error,
                       Message("moe::assign(t): expected number of values = 270, got 271"));
}

TEST_CASE("like: zeros of the same shape and layout in another type; nothing of nothing", "[core][tensor]") {
  const auto tensor = make<moe::Panels>();
  moe::assign(tensor, counted(270));
  const auto moments = tensor.like<double>(test::Exec());
  CHECK(moments.name == "t");
  CHECK(moments.shape == tensor.shape);
  CHECK_FALSE(moments.traits.decay);
  CHECK(moments.size() == 270);
  CHECK(test::all_zero(moe::to_host(moments)));
  CHECK(moe::to_host(tensor) == counted(270));
  const moe::Tensor<float, test::Memory> nothing;
  CHECK(nothing.empty());
  CHECK(nothing.like<double>(test::Exec()).empty());
}

TEST_CASE("a weight handle points at each expert's matrix", "[core][tensor]") {
  const auto tensor = make<moe::Panels>();
  moe::assign(tensor, counted(270));
  const test::Numbers<float> firsts("firsts", 3);
  const auto weights = tensor.weights();
  CHECK(weights.extents.out == 9);
  // read where the pointers live
  const auto pointers = Kokkos::create_mirror_view_and_copy(
      Kokkos::HostSpace(),
      Kokkos::View<const moe::Pointer<float>*, test::Memory, Kokkos::MemoryTraits<Kokkos::Unmanaged>>(weights.experts,
                                                                                                      3));
  for (int e = 0; e < 3; ++e) CHECK(pointers(e).address == tensor.storage.data() + e * 160);
}
