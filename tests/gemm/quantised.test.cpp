// Products with quantised weights: every instruction set gives the bits of the portable engine, for rows as they are and for
// rows of a byte; pairs of bfloat16 against double; a row alone has the bits that it has among others.

#include <moe/core/arena.hpp>
#include <moe/core/parameters.hpp>
#include <moe/gemm/best_engine.hpp>
#include <moe/gemm/epilogue.hpp>

#include <algorithm>
#include <catch2/catch_message.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <support/compare.hpp>
#include <support/views.hpp>
#include <type_traits>
#include <vector>

namespace {

using Host = moe::EngineFor<test::Exec, float>::type;
using Portable = moe::PortableEngine<test::Exec, float>;

struct UseIsa {
  explicit UseIsa(moe::HostIsa isa) { moe::set_host_isa(isa); }
  ~UseIsa() { moe::set_host_isa(best); }
  moe::HostIsa best = moe::host_isa();
};

struct Shape {
  moe::MatrixExtents m;
  std::vector<int> segment_rows;
};

const std::vector<Shape> shapes = {
    {{1, 1, 1}, {1}},          {{1, 17, 33}, {3, 0, 14, 1}}, {{1, 40, 300}, {13, 2}},
    {{1, 16, 256}, {0, 40}},   {{1, 139, 31}, {1, 1}},       {{1, 64, 128}, {7, 1, 20}},
    {{1, 33, 514}, {2, 5, 1}}, {{1, 200, 64}, {4}},          {{1, 300, 1030}, {6, 8}},
};

enum class Rows { exact, rounded };

template <class EngineT, class W, class S>
class Product {
 public:
  Product(const Shape& shape, Rows kind, const std::vector<double>& x) : shape_(shape), kind_(kind) {
    for (const int n : shape.segment_rows) offsets_.push_back(offsets_.back() + n);
    x_ = test::rows<S>(x, num_rows(), shape.m.in);
  }
  int num_rows() const { return offsets_.back(); }

  std::vector<float> forward(const moe::Tensor<W, test::Memory, typename EngineT::Layout>& w) const {
    const int experts = int(shape_.segment_rows.size());
    const test::Exec exec;
    const test::Numbers<int> offsets("offsets", offsets_.size());
    test::assign(offsets, offsets_);
    const moe::Segments segments{offsets.data(), experts, num_rows()};
    const moe::RowSource<S, float> rows{.data = x_.data(), .stride = std::int64_t(x_.stride(0))};

    moe::Arena<test::Memory> measure;
    const moe::EngineLimits limits{experts, num_rows(), std::max(shape_.m.in, shape_.m.out)};
    EngineT(exec, measure, limits);
    const Kokkos::View<std::byte*, test::Memory> memory("memory", measure.bytes() + 128);
    auto* const begin = memory.data() + (128 - reinterpret_cast<std::uintptr_t>(memory.data()) % 128) % 128;
    moe::Arena<test::Memory> arena(begin, measure.bytes());
    const EngineT engine(exec, arena, limits);

    const test::Rows<float> sums("sums", num_rows(), shape_.m.out + 64);
    const moe::detail::StoreRows<float> store{{sums.data(), std::int64_t(sums.stride(0)), shape_.m.out}};
    const std::string label = "product";
    if (kind_ == Rows::exact) {
      engine.forward(exec, label, segments, rows, w.weights(), store);
    } else if constexpr (moe::is_quantised_v<W>) {
      engine.forward(exec, label, segments, moe::QuantisedRows<S, float>{rows}, w.weights(), store);
    }
    return test::to_host(sums);
  }

 private:
  Shape shape_;
  Rows kind_;
  std::vector<int> offsets_ = {0};
  test::Rows<S> x_;
};

template <class W, class LayoutT>
moe::Tensor<W, test::Memory, LayoutT> weights_of(const Shape& shape) {
  const int experts = int(shape.segment_rows.size());
  const auto m = shape.m;
  moe::Tensor<W, test::Memory, LayoutT> w(test::Exec(), "w", {experts, m.out, m.in}, experts, m);
  if constexpr (moe::is_quantised_v<W>) {
    moe::assign(w, test::cast<float>(test::uniform<float>(7, experts * m.size())));
  } else {
    moe::assign(w, test::cast<W>(test::uniform<float>(7, experts * m.size())));
  }
  return w;
}

template <class EngineT, class W, class S>
std::vector<float> multiply(const Shape& shape, Rows kind, const std::vector<double>& x) {
  return Product<EngineT, W, S>(shape, kind, x).forward(weights_of<W, typename EngineT::Layout>(shape));
}

std::vector<double> tokens(const Shape& shape, int seed = 11) {
  const int rows = std::accumulate(shape.segment_rows.begin(), shape.segment_rows.end(), 0);
  return test::cast<double>(test::uniform<float>(seed, std::int64_t(rows) * shape.m.in));
}

template <class W, class S>
void check_all_isas(Rows kind, moe::HostIsa most) {
  for (const Shape& shape : shapes) {
    INFO(shape.m.out << " x " << shape.m.in);
    const auto x = tokens(shape);
    const std::vector<float> expected = multiply<Portable, W, S>(shape, kind, x);
    CHECK(*std::max_element(expected.begin(), expected.end()) != 0);
    for (const moe::HostIsa isa : moe::all_host_isas) {
      if (isa > most || !moe::is_supported(isa)) continue;
      INFO(std::string(moe::name(isa)));
      const UseIsa use(isa);
      CHECK(test::same_bits(multiply<Host, W, S>(shape, kind, x), expected));
    }
  }
}

}  // namespace

TEMPLATE_TEST_CASE("Quantised weights: every instruction set gives the portable engine's bits", "[gemm][quantised]",
                   moe::int8, moe::int4, moe::mxfp4) {
  check_all_isas<TestType, float>(Rows::exact, moe::HostIsa::avx512_bf16);
  check_all_isas<TestType, moe::bfloat16>(Rows::exact, moe::HostIsa::avx512_vnni);
}

TEMPLATE_TEST_CASE("Rows of a byte: every instruction set gives the portable engine's bits", "[gemm][quantised]",
                   moe::int8, moe::int4, moe::mxfp4) {
  check_all_isas<TestType, float>(Rows::rounded, moe::HostIsa::avx512_bf16);
  check_all_isas<TestType, moe::bfloat16>(Rows::rounded, moe::HostIsa::avx512_bf16);
}

TEMPLATE_TEST_CASE("Rows of a byte: the result is near that of the rows as they are", "[gemm][quantised]", moe::int8,
                   moe::int4, moe::mxfp4) {
  for (const Shape& shape : shapes) {
    const auto x = tokens(shape);
    const auto exact = multiply<Portable, TestType, float>(shape, Rows::exact, x);
    const auto rounded = multiply<Portable, TestType, float>(shape, Rows::rounded, x);
    double error = 0, size = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      error += std::pow(double(rounded[i]) - exact[i], 2);
      size += double(exact[i]) * exact[i];
    }
    CHECK(error < 0.01 * 0.01 * size);
  }
}

TEMPLATE_TEST_CASE("Pairs of bfloat16 are products in float", "[gemm][quantised]", moe::bfloat16, moe::int8, moe::int4,
                   moe::mxfp4) {
  if (!moe::is_supported(moe::HostIsa::avx512_bf16)) SKIP("this CPU does not multiply pairs of bfloat16");
  const UseIsa use(moe::HostIsa::avx512_bf16);
  for (const Shape& shape : shapes) {
    INFO(shape.m.out << " x " << shape.m.in);
    const auto x = tokens(shape);
    const auto w = moe::to_host(weights_of<TestType, moe::RowMajor>(shape));
    const auto y = multiply<Host, TestType, moe::bfloat16>(shape, Rows::exact, x);
    int row = 0;
    for (std::size_t e = 0; e < shape.segment_rows.size(); ++e) {
      for (int r = 0; r < shape.segment_rows[e]; ++r, ++row) {
        for (int out = 0; out < shape.m.out; ++out) {
          double sum = 0, size = 0;
          for (int in = 0; in < shape.m.in; ++in) {
            const double weight = float(moe::bfloat16(float(w[(e * shape.m.out + out) * shape.m.in + in])));
            // With an odd number of inputs weights are not rounded.
            const double used =
                shape.m.in % 2 == 0 ? weight : double(float(w[(e * shape.m.out + out) * shape.m.in + in]));
            const double term = float(moe::bfloat16(x[std::int64_t(row) * shape.m.in + in])) * used;
            sum += term;
            size += std::abs(term);
          }
          const double got = y[std::size_t(row) * (shape.m.out + 64) + out];
          CHECK(std::abs(got - sum) <= 2e-7 * shape.m.in * size + 1e-30);
        }
      }
    }
  }
}

TEMPLATE_TEST_CASE("A row alone has the bits that it has among others", "[gemm][quantised]", moe::bfloat16, moe::half,
                   moe::int8, moe::int4, moe::mxfp4) {
  const moe::MatrixExtents m{1, 150, 270};
  const Shape together{m, {37}}, alone{m, {1}};
  const auto x = tokens(together);
  for (const moe::HostIsa isa : moe::all_host_isas) {
    if (!moe::is_supported(isa)) continue;
    INFO(std::string(moe::name(isa)));
    const UseIsa use(isa);
    const auto check = [&]<class S>(S, Rows kind) {
      const auto all = multiply<Host, TestType, S>(together, kind, x);
      for (const int row : {0, 5, 36}) {
        const std::vector<double> one(x.begin() + row * m.in, x.begin() + (row + 1) * m.in);
        const auto single = multiply<Host, TestType, S>(alone, kind, one);
        const std::int64_t width = m.out + 64;
        CHECK(test::same_bits(single, std::vector<float>(all.begin() + row * width, all.begin() + (row + 1) * width)));
      }
    };
    check(moe::bfloat16{}, Rows::exact);
    check(float{}, Rows::exact);
    if (moe::is_quantised_v<TestType>) check(float{}, Rows::rounded);
  }
}

TEMPLATE_TEST_CASE("Rows of a byte: a NaN or an infinity spoils its own row alone; zeros are zeros",
                   "[gemm][quantised]", moe::int8, moe::int4, moe::mxfp4) {
  const Shape shape{{1, 20, 300}, {4}};
  auto x = tokens(shape);
  x[1 * 300 + 290] = std::numeric_limits<double>::quiet_NaN();
  x[2 * 300 + 3] = -std::numeric_limits<double>::infinity();
  std::fill(x.begin() + 3 * 300, x.end(), 0.0);
  for (const moe::HostIsa isa : moe::all_host_isas) {
    if (!moe::is_supported(isa)) continue;
    const UseIsa use(isa);
    const auto y = multiply<Host, TestType, float>(shape, Rows::rounded, x);
    for (int out = 0; out < 20; ++out) {
      CHECK(std::isfinite(y[0 * 84 + out]));
      CHECK(std::isnan(y[1 * 84 + out]));
      CHECK(std::isnan(y[2 * 84 + out]));
      CHECK(y[3 * 84 + out] == 0);
    }
  }
}

TEMPLATE_TEST_CASE("Rows of a byte: sums of the largest numbers do not overflow", "[gemm][quantised]", moe::int8,
                   moe::int4, moe::mxfp4) {
  const Shape shape{{1, 16, 512}, {3}};
  const std::vector<double> x(3 * 512, 1.0);
  // In each group one weight whose code is the least that there is, and then the greatest.
  std::vector<float> values(16 * 512);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = i % 32 == 0 ? -1.5f : 1.5f;
  const auto product = [&]<class EngineT>(const EngineT*) {
    const auto w = weights_of<TestType, typename EngineT::Layout>(shape);
    moe::assign(w, values);
    return Product<EngineT, TestType, float>(shape, Rows::rounded, x).forward(w);
  };
  const auto expected = product(static_cast<const Portable*>(nullptr));
  CHECK(std::abs(expected[0] - 1.5f * 480) < 0.15f * 1.5f * 480);  // int4 has 7 for 8
  for (const moe::HostIsa isa : moe::all_host_isas) {
    if (!moe::is_supported(isa)) continue;
    INFO(std::string(moe::name(isa)));
    const UseIsa use(isa);
    CHECK(test::same_bits(product(static_cast<const Host*>(nullptr)), expected));
  }
}
