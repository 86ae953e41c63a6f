#pragma once

#include <algorithm>
#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <moe/core/arena.hpp>
#include <moe/gemm/best_engine.hpp>
#include <moe/transform/quantise.hpp>
#include <random>
#include <support/compare.hpp>
#include <support/views.hpp>
#include <type_traits>
#include <utility>
#include <vector>

/// \file
/// Both engines with weights of another type than the rows, bit by bit: each result is one chain of fused multiply-adds over the
/// values of the codes, whatever the instruction set and the number of rows.
namespace test::coded_products {

template <class EngineT>
using EngineOf = typename EngineT::template type<Exec, float>;

/// out[row, part, column] = sum
template <int PartsV>
struct StoreParts {
  static constexpr int parts = PartsV;
  static constexpr bool row_dot = false;
  float* out;
  int columns;  ///< padded
  template <class V>
  MOE_INLINE void operator()(int, int row, int column, const V* sum) const {
    for (int p = 0; p < parts; ++p) moe::simd::store(out + (row * parts + p) * columns + column, sum[p]);
  }
};

/// Codes and scales at random, in all bytes, that are finite numbers of a moderate size.
template <class T, class TensorT>
void assign_any_codes(const TensorT& tensor) {
  const moe::MatrixExtents m = tensor.extents();
  const auto mirror = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), tensor.storage);
  std::mt19937 random(7);
  for (std::size_t i = 0; i < mirror.size(); ++i) {
    // A section is a line of scales and the lines of their codes; see CodedPanel.
    const int line = int(i / 64 % moe::CodedPanel<T>::lines(m.in)) % moe::CodedPanel<T>::section_lines(m.in);
    std::uint8_t byte = std::uint8_t(random());
    if (line == 0) {
      const int high = std::is_same_v<T, moe::int8> ? 3 : std::is_same_v<T, moe::int4> ? 1 : 0;  // the exponent's byte
      if (int(i) % (high + 1) == high) {
        byte = std::is_same_v<T, moe::mxfp4> ? std::uint8_t(byte % 40 + 100) : std::uint8_t(byte % 5 + 0x3b);
      }
    }
    mirror(i).byte = byte;
  }
  Kokkos::deep_copy(tensor.storage, mirror);
}

template <class T, int PartsV>
struct Problem {
  moe::MatrixExtents m;
  std::vector<int> offsets;
  int experts, rows;
  Exec exec;
  moe::Tensor<T, Memory, moe::Panels> panels;
  moe::Tensor<T, Memory, moe::RowMajor> row_major;
  std::vector<float> x, dy, w;

  Problem(moe::MatrixExtents m_, std::vector<int> segments) : m(m_), offsets{0} {
    for (const int n : segments) offsets.push_back(offsets.back() + n);
    experts = int(segments.size()), rows = offsets.back();
    panels = {exec, "w", {}, experts, m};
    row_major = {exec, "w", {}, experts, m};
    x = test::cast<float>(test::uniform<float>(2, rows * m.in));
    dy = test::cast<float>(test::uniform<float>(3, rows * PartsV * m.out));
    if constexpr (moe::is_quantised_v<T>) {
      assign_any_codes<T>(panels);
    } else {
      moe::assign(panels, test::cast<T>(test::cast<float>(test::uniform<float>(4, panels.size()))));
    }
    moe::detail::convert(exec, moe::detail::const_access(panels), row_major.access(), experts);
    exec.fence();
    w = test::cast<float>(moe::to_host(panels));
  }

  float weight(int expert, int part, int out, int in) const {
    return w[((std::size_t(expert) * m.parts + part) * m.out + out) * m.in + in];
  }
  int expert_of(int row) const {
    return int(std::upper_bound(offsets.begin(), offsets.end(), row) - offsets.begin()) - 1;
  }

  /// [row][part][out]
  std::vector<float> forward() const {
    std::vector<float> y;
    for (int r = 0; r < rows; ++r) {
      for (int p = 0; p < m.parts; ++p) {
        for (int o = 0; o < m.out; ++o) {
          float sum = 0;
          for (int i = 0; i < m.in; ++i) sum = std::fma(x[r * m.in + i], weight(expert_of(r), p, o, i), sum);
          y.push_back(sum);
        }
      }
    }
    return y;
  }
  /// [row][in]
  std::vector<float> backward() const {
    std::vector<float> dx;
    for (int r = 0; r < rows; ++r) {
      for (int i = 0; i < m.in; ++i) {
        float sum = 0;
        for (int o = 0; o < m.out; ++o) {
          for (int p = 0; p < m.parts; ++p) {
            sum = std::fma(dy[(r * m.parts + p) * m.out + o], weight(expert_of(r), p, o, i), sum);
          }
        }
        dx.push_back(sum);
      }
    }
    return dx;
  }

  /// What an engine makes: forward's and backward's.
  template <class EngineT, class TensorT>
  std::pair<std::vector<float>, std::vector<float>> run(const TensorT& tensor) const {
    using ArenaT = moe::Arena<Memory>;
    const moe::EngineLimits limits{experts, rows, std::max(m.out, m.in) * m.parts};
    ArenaT measure;
    EngineOf<EngineT>(exec, measure, limits);
    const Kokkos::View<double*, Memory> memory("memory", measure.bytes() / 8 + 32);
    auto* const begin = reinterpret_cast<std::byte*>(memory.data());
    ArenaT arena(begin + (256 - reinterpret_cast<std::uintptr_t>(begin) % 256) % 256, measure.bytes());
    const EngineOf<EngineT> engine(exec, arena, limits);

    const auto offsets_view = test::numbers<int>(offsets);
    const auto x_view = test::numbers<float>(x), dy_view = test::numbers<float>(dy);
    const moe::Segments segments{.offsets = offsets_view.data(), .count = experts, .max_rows = rows};
    const int out = moe::padded<float>(m.out), in = moe::padded<float>(m.in);
    const auto y = test::rows<float>(rows * m.parts, out), dx = test::rows<float>(rows, in);
    engine.forward(exec, "forward", segments, moe::RowSource<float>{.data = x_view.data(), .stride = m.in},
                   tensor.weights(), StoreParts<PartsV>{y.data(), out});
    engine.backward_rows(exec, "backward_rows", segments,
                         moe::RowSource<float>{.data = dy_view.data(), .stride = m.parts * m.out, .part_stride = m.out},
                         tensor.weights(), StoreParts<1>{dx.data(), in});
    return {test::to_host(y, m.out), test::to_host(dx, m.in)};
  }
};

template <class T, int PartsV>
void check_parts(const std::vector<int>& segments) {
  for (const auto& [out, in] : {std::pair{1, 1}, {7, 31}, {16, 32}, {17, 33}, {40, 65}, {9, 129}, {33, 300}, {70, 8}}) {
    CAPTURE(PartsV, out, in, segments);
    const Problem<T, PartsV> problem({PartsV, out, in}, segments);
    const auto y = problem.forward(), dx = problem.backward();
    const auto plain = problem.template run<moe::PortableTeams>(problem.row_major);
    CHECK(plain.first == y);
    CHECK(plain.second == dx);
    const moe::HostIsa best = moe::host_isa();
    for (const moe::HostIsa isa : moe::all_host_isas) {
      if (!moe::is_supported(isa)) continue;
      moe::set_host_isa(isa);
      INFO(moe::name(isa));
      const auto fast = problem.template run<moe::BestEngine>(problem.panels);
      CHECK(fast.first == y);
      CHECK(fast.second == dx);
    }
    moe::set_host_isa(best);
  }
}

template <class T>
void check() {
  for (const auto& segments : std::vector<std::vector<int>>{{1}, {2, 0, 5}, {13, 1, 70}}) {
    check_parts<T, 1>(segments);
    check_parts<T, 2>(segments);
  }
}

}  // namespace test::coded_products
