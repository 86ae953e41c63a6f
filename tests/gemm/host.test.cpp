#include <moe/gemm/host.hpp>

#include <moe/core/arena.hpp>

#include <catch2/catch_message.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <support/views.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace host_test {  // nvcc warns of what it does not use in a namespace without a name

using moe::EngineLimits;
using moe::HostEngine;
using moe::HostIsa;
using moe::MatrixExtents;
using moe::Panels;

template <class T>
using Random = std::uniform_real_distribution<T>;

std::vector<HostIsa> isas() {
  std::vector<HostIsa> all;
  for (const HostIsa isa : {HostIsa::baseline, HostIsa::avx2, HostIsa::avx512}) {
    if (moe::is_supported(isa)) all.push_back(isa);
  }
  return all;
}

/// Sets the instruction set, and the machine's own when it goes.
struct UseIsa {
  explicit UseIsa(HostIsa isa) { moe::set_host_isa(isa); }
  ~UseIsa() { moe::set_host_isa(best); }
  HostIsa best = moe::host_isa();
};

/// The same bits, or NaN both.
template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) return false;
  }
  return true;
}

/// Memory that begins at a multiple of 128 bytes.
template <class T>
struct Aligned {
  std::vector<T> storage;
  T* data;
  explicit Aligned(std::size_t n, T value = T(0)) : storage(n + 128 / sizeof(T), value) {
    const auto address = reinterpret_cast<std::uintptr_t>(storage.data());
    data = storage.data() + (128 - address % 128) % 128 / sizeof(T);
  }
  Aligned(const Aligned&) = delete;
};

template <class ExecT, class T>
struct EngineOnHeap {
  moe::Arena<Kokkos::HostSpace> measure;
  std::unique_ptr<Aligned<std::byte>> memory;
  HostEngine<ExecT, T> engine;

  EngineOnHeap(const ExecT& exec, const EngineLimits& limits) {
    HostEngine<ExecT, T>(exec, measure, limits);
    memory = std::make_unique<Aligned<std::byte>>(measure.bytes(), std::byte(0x7f));
    moe::Arena<Kokkos::HostSpace> arena(memory->data, measure.bytes());
    engine = HostEngine<ExecT, T>(exec, arena, limits);
  }
};

/// A grouped product with gathered, scaled, strided and unaligned rows, and its result by the formulas of engine.hpp,
/// one std::fma after the other.
template <class T>
struct Problem {
  MatrixExtents m;
  std::vector<int> offsets;
  bool dense = false;  ///< one segment without offsets
  int rows;
  std::vector<std::vector<T>> w;  ///< of each expert, [part][out][in]
  std::vector<T> x, dy;           ///< of the tokens, with a stride and an offset
  std::vector<int> index;
  std::vector<T> scale;
  std::vector<Aligned<T>*> packed;

  static constexpr int shift = 1;
  int x_stride() const { return m.in + 3; }
  int dy_stride() const { return m.parts * (m.out + 2) + 1; }
  int experts() const { return int(offsets.size()) - 1; }

  Problem(MatrixExtents m_, const std::vector<int>& segment_rows, int seed = 1) : m(m_), offsets{0} {
    for (const int n : segment_rows) offsets.push_back(offsets.back() + n);
    rows = offsets.back();
    std::mt19937 random(seed);
    Random<T> uniform(-1, 1);
    const auto fill = [&](std::vector<T>& v, std::size_t n) {
      v.resize(n);
      for (T& element : v) element = uniform(random);
    };
    w.resize(experts());
    for (auto& matrix : w) {
      fill(matrix, m.size());
      packed.push_back(new Aligned<T>(Panels::size<T>(m)));
      for_each_element([&](int p, int f, int d) {
        packed.back()->data[Panels::offset<T>(m, p, f, d)] = matrix[(std::size_t(p) * m.out + f) * m.in + d];
      });
    }
    const int tokens = rows / 2 + 1;
    // Not one element more than a row needs: the sanitizer sees who reads on.
    fill(x, shift + std::size_t(tokens - 1) * x_stride() + m.in);
    fill(dy, shift + std::size_t(tokens - 1) * dy_stride() + (m.parts - 1) * (m.out + 2) + m.out);
    fill(scale, rows);
    for (int r = 0; r < rows; ++r) index.push_back(int(random() % tokens));
  }
  Problem(const Problem&) = delete;
  ~Problem() {
    for (Aligned<T>* matrix : packed) delete matrix;
  }

  template <class F>
  void for_each_element(F f) const {
    for (int p = 0; p < m.parts; ++p) {
      for (int o = 0; o < m.out; ++o) {
        for (int i = 0; i < m.in; ++i) f(p, o, i);
      }
    }
  }

  moe::Segments segments() const {
    if (dense) return {.max_rows = rows};
    return {.offsets = offsets.data(), .count = experts(), .max_rows = rows};
  }
  moe::RowSource<T> x_rows() const {
    return {.data = x.data() + shift, .stride = x_stride(), .index = index.data(), .scale = scale.data()};
  }
  moe::RowSource<T> dy_rows() const {
    return {.data = dy.data() + shift,
            .stride = dy_stride(),
            .part_stride = m.out + 2,
            .index = index.data(),
            .scale = scale.data()};
  }
  EngineLimits limits() const {
    return {.segments = experts(), .rows = rows, .columns = m.parts * std::max(m.in, m.out)};
  }
  int expert_of(int row) const {
    return int(std::upper_bound(offsets.begin(), offsets.end(), row) - offsets.begin()) - 1;
  }
  T weight(int e, int p, int f, int d) const { return w[e][(std::size_t(p) * m.out + f) * m.in + d]; }
  T x_at(int r, int d) const { return scale[r] * x_rows().row(r)[d]; }
  T dy_at(int r, int p, int f) const { return scale[r] * dy_rows().row(r, p)[f]; }

  /// [row][part][out]
  std::vector<T> forward() const {
    std::vector<T> y;
    for (int r = 0; r < rows; ++r) {
      for (int p = 0; p < m.parts; ++p) {
        for (int f = 0; f < m.out; ++f) {
          T sum = 0;
          for (int d = 0; d < m.in; ++d) sum = std::fma(x_at(r, d), weight(expert_of(r), p, f, d), sum);
          y.push_back(sum);
        }
      }
    }
    return y;
  }
  /// [row][in]
  std::vector<T> backward_rows() const {
    std::vector<T> y;
    for (int r = 0; r < rows; ++r) {
      for (int d = 0; d < m.in; ++d) {
        T sum = 0;
        for (int f = 0; f < m.out; ++f) {
          for (int p = 0; p < m.parts; ++p) sum = std::fma(dy_at(r, p, f), weight(expert_of(r), p, f, d), sum);
        }
        y.push_back(sum);
      }
    }
    return y;
  }
  /// [part][out][in], onto `w` of the expert if that is asked for.
  std::vector<T> backward_weights(int e, bool accumulate) const {
    std::vector<T> g;
    for_each_element([&](int p, int f, int d) {
      T sum = accumulate ? weight(e, p, f, d) : T(0);
      for (int r = offsets[e]; r < offsets[e + 1]; ++r) sum = std::fma(dy_at(r, p, f), x_at(r, d), sum);
      g.push_back(sum);
    });
    return g;
  }
};

/// Stores every lane, and counts that every element comes once.
template <class T, int PartsV>
struct StoreAll {
  static constexpr int parts = PartsV;
  static constexpr bool row_dot = false;
  T* out;  ///< [row][part][padded column]
  int* visits;
  int columns;

  template <class V>
  MOE_INLINE void operator()(int, int row, int column, const V* sum) const {
    static_assert(sizeof(V) == 32);
    for (int p = 0; p < parts; ++p) simd_store(row, p, column, sum[p]);
  }
  /// Only what will be stored may be prepared for.
  MOE_INLINE void prepare(int row, int column) const {
    if (row < 0 || column < 0 || column >= columns || column % (64 / int(sizeof(T)) / parts) != 0) visits[0] = 1000;
    __builtin_prefetch(out + (std::size_t(row) * parts) * moe::padded<T>(columns) + column, 1);
  }
  template <class V>
  MOE_INLINE void simd_store(int row, int p, int column, const V& sum) const {
    const std::size_t at = (std::size_t(row) * parts + p) * moe::padded<T>(columns) + column;
    moe::simd::store(out + at, sum);
    for (int i = 0; i < moe::simd::lanes<V>; ++i) ++visits[at + i];
  }
};

template <class T, int PartsV, class CallT>
std::vector<T> collect(int rows, int columns, const CallT& call) {
  const int padded = moe::padded<T>(columns);
  std::vector<T> out(std::size_t(rows) * PartsV * padded, T(77)), result;
  std::vector<int> visits(out.size());
  call(StoreAll<T, PartsV>{out.data(), visits.data(), columns});
  int wrong = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int column = int(i % padded);
    if (column < columns) {
      result.push_back(out[i]);
      wrong += visits[i] != 1;
    } else {
      wrong += out[i] != (visits[i] != 0 ? T(0) : T(77));
    }
  }
  CHECK(wrong == 0);
  return result;
}

template <class ExecT, int PartsV, class T>
std::vector<T> run_forward(const Problem<T>& problem) {
  const ExecT exec;
  EngineOnHeap<ExecT, T> on_heap(exec, problem.limits());
  std::vector<moe::Pointer<T>> experts;
  for (auto* matrix : problem.packed) experts.push_back({matrix->data});
  const moe::Weights<const T> weights{experts.data(), problem.m};
  return collect<T, PartsV>(problem.rows, problem.m.out, [&](const auto& store) {
    on_heap.engine.forward(exec, "forward", problem.segments(), problem.x_rows(), weights, store);
  });
}

template <class ExecT, class T>
std::vector<T> run_backward_rows(const Problem<T>& problem) {
  const ExecT exec;
  EngineOnHeap<ExecT, T> on_heap(exec, problem.limits());
  std::vector<moe::Pointer<T>> experts;
  for (auto* matrix : problem.packed) experts.push_back({matrix->data});
  const moe::Weights<const T> weights{experts.data(), problem.m};
  return collect<T, 1>(problem.rows, problem.m.in, [&](const auto& store) {
    on_heap.engine.backward_rows(exec, "backward_rows", problem.segments(), problem.dy_rows(), weights, store);
  });
}

/// The gradients of all experts, [expert][part][out][in]. They start as the weights. Checks that padding stays zero.
template <class ExecT, class T>
std::vector<T> run_backward_weights(const Problem<T>& problem, bool accumulate, int left_out = -1) {
  const ExecT exec;
  EngineOnHeap<ExecT, T> on_heap(exec, problem.limits());
  const MatrixExtents m = problem.m;
  const std::int64_t size = Panels::size<T>(m);
  Aligned<T> gradients(problem.experts() * size);
  std::vector<moe::Pointer<T>> experts;
  for (int e = 0; e < problem.experts(); ++e) {
    std::copy_n(problem.packed[e]->data, size, gradients.data + e * size);
    experts.push_back({e == left_out ? nullptr : gradients.data + e * size});
  }
  on_heap.engine.backward_weights(exec, "backward_weights", problem.segments(), problem.dy_rows(), problem.x_rows(),
                                  moe::Weights<T>{experts.data(), m}, accumulate);
  std::vector<T> result;
  std::vector<char> used(size);
  for (int e = 0; e < problem.experts(); ++e) {
    problem.for_each_element([&](int p, int f, int d) {
      const std::int64_t at = Panels::offset<T>(m, p, f, d);
      used[at] = true;
      result.push_back(gradients.data[e * size + at]);
    });
    for (std::int64_t i = 0; i < size; ++i) {
      if (!used[i] && gradients.data[e * size + i] != 0) FAIL("padding is not zero");
    }
  }
  return result;
}

template <class T>
std::vector<T> expected_weights(const Problem<T>& problem, bool accumulate, int left_out = -1) {
  std::vector<T> all;
  for (int e = 0; e < problem.experts(); ++e) {
    const auto one = e == left_out ? problem.w[e] : problem.backward_weights(e, accumulate);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

template <class ExecT, class T>
void check_all(const Problem<T>& problem) {
  const auto forward = problem.forward();
  CHECK(same(forward, problem.m.parts == 1 ? run_forward<ExecT, 1>(problem) : run_forward<ExecT, 2>(problem)));
  CHECK(same(problem.backward_rows(), run_backward_rows<ExecT>(problem)));
  CHECK(same(expected_weights(problem, false), run_backward_weights<ExecT>(problem, false)));
  CHECK(same(expected_weights(problem, true), run_backward_weights<ExecT>(problem, true)));
}

}  // namespace host_test

using namespace host_test;

TEMPLATE_TEST_CASE("HostEngine: matrices of any size", "[host]", float, double) {
  for (const HostIsa isa : isas()) {
    const UseIsa use(isa);
    for (const int parts : {1, 2}) {
      for (const auto& [out, in] : {std::pair{1, 1},
                                    {7, 9},
                                    {8, 16},
                                    {9, 7},
                                    {16, 17},
                                    {17, 8},
                                    {48, 100},
                                    {100, 48},
                                    {257, 16},
                                    {16, 257},
                                    {33, 600},
                                    {600, 3}}) {
        INFO(name(isa) << ", parts = " << parts << ", out = " << out << ", in = " << in);
        check_all<test::Serial>(Problem<TestType>({parts, out, in}, {5, 0, 14}));
      }
    }
  }
}

TEMPLATE_TEST_CASE("HostEngine: any number of rows", "[host]", float, double) {
  for (const HostIsa isa : isas()) {
    const UseIsa use(isa);
    for (const int rows : {0, 1, 2, 5, 6, 7, 12, 13, 33, 192, 193, 300}) {
      INFO(name(isa) << ", rows = " << rows);
      check_all<test::Serial>(Problem<TestType>({2, 19, 21}, {rows}));
      Problem<TestType> dense({1, 35, 18}, {rows});
      dense.dense = true;
      check_all<test::Serial>(dense);
    }
  }
}

TEMPLATE_TEST_CASE("HostEngine: skewed and empty segments, and the same bits from many threads", "[host]", float,
                   double) {
  for (const auto& segments : std::vector<std::vector<int>>{{0, 0, 0},
                                                            {0, 3},
                                                            {70, 0, 1, 0, 250, 0},
                                                            std::vector<int>(64, 1),
                                                            {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}}) {
    const Problem<TestType> problem({2, 40, 27}, segments);
    INFO("experts = " << problem.experts() << ", rows = " << problem.rows);
    check_all<test::Serial>(problem);
    check_all<Kokkos::DefaultHostExecutionSpace>(problem);
  }
}

TEST_CASE("HostEngine: one engine for many products, in turn", "[host]") {
  using Exec = Kokkos::DefaultHostExecutionSpace;
  const Exec exec;
  const Problem<float> problem({1, 48, 64}, {9, 30, 2});
  EngineOnHeap<Exec, float> on_heap(exec, problem.limits());
  std::vector<moe::Pointer<float>> experts;
  for (auto* matrix : problem.packed) experts.push_back({matrix->data});
  const moe::Weights<const float> weights{experts.data(), problem.m};
  const auto expected = problem.forward();
  for (int repeat = 0; repeat < 50; ++repeat) {
    CHECK(same(expected, collect<float, 1>(problem.rows, problem.m.out, [&](const auto& store) {
                 on_heap.engine.forward(exec, "forward", problem.segments(), problem.x_rows(), weights, store);
               })));
  }
}

TEST_CASE("HostEngine: a row gives the same bits alone and among others", "[host]") {
  const Problem<float> many({2, 24, 700}, {40});
  const auto all = run_forward<test::Serial, 2>(many);
  const std::size_t width = all.size() / many.rows;
  for (const int row : {0, 7, 39}) {
    Problem<float> one({2, 24, 700}, {1});
    one.w = many.w;
    std::copy_n(many.packed[0]->data, Panels::size<float>(many.m), one.packed[0]->data);
    one.x.assign(1, 0.0f);
    one.x.insert(one.x.end(), many.x_rows().row(row), many.x_rows().row(row) + 700);
    one.index[0] = 0;
    one.scale[0] = many.scale[row];
    CHECK(same(std::vector(all.begin() + row * width, all.begin() + (row + 1) * width),
               run_forward<test::Serial, 2>(one)));
  }
}

TEMPLATE_TEST_CASE("HostEngine: an expert without a matrix is left out of the weights' gradient", "[host]", float,
                   double) {
  const Problem<TestType> problem({1, 20, 30}, {4, 9, 3});
  CHECK(same(expected_weights(problem, false, 1), run_backward_weights<test::Serial>(problem, false, 1)));
}

TEMPLATE_TEST_CASE("HostEngine: NaN and infinity stay where they belong", "[host]", float, double) {
  using T = TestType;
  for (const HostIsa isa : isas()) {
    const UseIsa use(isa);
    Problem<T> problem({2, 13, 20}, {9, 14});
    for (std::size_t i = 5; i < problem.x.size(); i += 97) problem.x[i] = std::numeric_limits<T>::quiet_NaN();
    for (std::size_t i = 9; i < problem.dy.size(); i += 91) problem.dy[i] = std::numeric_limits<T>::infinity();
    check_all<test::Serial>(problem);
  }
}

namespace host_test {

/// out = sum; the row's dot product with a vector that is far from zero past the last column.
template <class T, int PartsV>
struct DotEpilogue {
  static constexpr int parts = PartsV;
  static constexpr bool row_dot = true;
  T* partials;
  int groups;

  template <class V>
  MOE_INLINE V operator()(int, int, int, const V* sum) const {
    return sum[parts - 1] * V(T(0.5)) + V(T(1));
  }
  MOE_INLINE void partial(int row, int group, T sum) const { partials[row * groups + group] = sum; }
};

template <class T, int PartsV>
void check_row_dot(int out) {
  const test::Serial exec;
  const Problem<T> problem({PartsV, out, 11}, {3, 20});
  EngineOnHeap<test::Serial, T> on_heap(exec, problem.limits());
  std::vector<moe::Pointer<T>> experts;
  for (auto* matrix : problem.packed) experts.push_back({matrix->data});
  const int groups = (out + 15) / 16;
  std::vector<T> partials(problem.rows * groups, T(-1)), expected;
  on_heap.engine.forward(exec, "dot", problem.segments(), problem.x_rows(),
                         moe::Weights<const T>{experts.data(), problem.m},
                         DotEpilogue<T, PartsV>{partials.data(), groups});
  const auto y = problem.forward();
  for (int r = 0; r < problem.rows; ++r) {
    for (int g = 0; g < groups; ++g) {
      T dot = 0;
      for (int f = g * 16; f < std::min(out, g * 16 + 16); ++f) {
        dot += y[(std::size_t(r) * PartsV + PartsV - 1) * out + f] * T(0.5) + T(1);
      }
      expected.push_back(dot);
    }
  }
  CHECK(same(expected, partials));
}

}  // namespace host_test

TEMPLATE_TEST_CASE("HostEngine: row dots are sums over 16 columns in order", "[host]", float, double) {
  for (const HostIsa isa : isas()) {
    const UseIsa use(isa);
    for (const int out : {1, 8, 15, 16, 17, 40, 100, 300}) {
      INFO(name(isa) << ", out = " << out);
      check_row_dot<TestType, 1>(out);
      check_row_dot<TestType, 2>(out);
    }
  }
}

namespace host_test {

template <class T, class LeafT>
std::vector<T> run_tiles(bool past_caches = false) {
  constexpr int depth = 50, lines = 2, n = moe::detail::line<T>;
  const moe::detail::Leaf<T> leaf = moe::detail::PickLeaf<T>().template operator()<LeafT>();
  std::mt19937 random(3);
  Random<T> uniform(-1, 1);
  Aligned<T> b(depth * lines * n);
  std::vector<T> a(depth * 6);
  for (T& element : a) element = uniform(random);
  for (T& element : b.storage) element = uniform(random);
  // Six rows, for all leaves to have a tile of that height or to need two.
  Aligned<T> c(6 * lines * n, T(0.25));
  for (int row = 0; row < 6; row += std::min(6, leaf.tile_rows)) {
    const int height = std::min({6, leaf.tile_rows, 6 - row});
    std::vector<T> packed(depth * height);
    for (int k = 0; k < depth; ++k) {
      for (int r = 0; r < height; ++r) packed[k * height + r] = a[k * 6 + row + r];
    }
    leaf.multiply({.a = packed.data(),
                   .b = {b.data, depth * n},
                   .giver = {},
                   .rows = height,
                   .lines = lines,
                   .depth = depth,
                   .c = c.data + row * lines * n,
                   .c_row = lines * n,
                   .c_line = n,
                   .from_zero = false,
                   .past_caches = past_caches,
                   .ahead = nullptr,
                   .ahead_line = 0,
                   .unit = 1,
                   .taker = {}});
  }
  moe::detail::order_stores();
  return {c.data, c.data + 6 * lines * n};
}

#if defined(MOE_X86)
/// AVX2 with vectors of another width than its registers have.
template <int BytesV>
struct Avx2Width : moe::detail::Avx2Leaf {
  static constexpr int vector_bytes = BytesV;
  template <class KernelT, class ArgumentsT>
  static MOE_AVX2 void call(const ArgumentsT& arguments) {
    KernelT::template run<Avx2Width>(arguments);
  }
};
#endif

}  // namespace host_test

TEMPLATE_TEST_CASE("HostEngine: tiles give the same bits at every vector width", "[host]", float, double) {
  const auto expected = run_tiles<TestType, moe::detail::BaselineLeaf>();
  CHECK(same(expected, run_tiles<TestType, moe::detail::BaselineLeaf>(true)));
#if defined(MOE_X86)
  if (moe::is_supported(HostIsa::avx2)) {
    CHECK(same(expected, run_tiles<TestType, moe::detail::Avx2Leaf>()));
    CHECK(same(expected, run_tiles<TestType, Avx2Width<16>>()));
    CHECK(same(expected, run_tiles<TestType, Avx2Width<64>>()));
    CHECK(same(expected, run_tiles<TestType, moe::detail::Avx2Leaf>(true)));
    CHECK(same(expected, run_tiles<TestType, Avx2Width<16>>(true)));
    CHECK(same(expected, run_tiles<TestType, Avx2Width<64>>(true)));
  }
  if (moe::is_supported(HostIsa::avx512)) {
    CHECK(same(expected, run_tiles<TestType, moe::detail::Avx512Leaf>()));
    CHECK(same(expected, run_tiles<TestType, moe::detail::Avx512Leaf>(true)));
  }
#endif
}

TEST_CASE("HostEngine: an instruction set that the CPU lacks is refused in a sentence", "[host]") {
  for (const HostIsa isa : {HostIsa::baseline, HostIsa::avx2, HostIsa::avx512}) {
    if (!moe::is_supported(isa)) CHECK_THROWS_AS(moe::set_host_isa(isa), moe::Error);
  }
  CHECK(moe::name(HostIsa::avx2) == "avx2");
}
