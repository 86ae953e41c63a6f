#include <moe/expert/feed_forward.hpp>

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <moe/core/precision.hpp>
#include <moe/core/shape.hpp>
#include <moe/gemm/best_engine.hpp>
#include <moe/layer/block.hpp>
#include <reference/expert.hpp>
#include <string>
#include <support/compare.hpp>
#include <support/parameters.hpp>
#include <support/views.hpp>
#include <type_traits>
#include <vector>

namespace {

constexpr int experts = 4, hidden = 11, num_tokens = 20;
/// Row r of the products is token token_of[r]; the segments have 6, 0, 17 and 1 rows.
const std::vector<int> offsets{0, 6, 6, 23, 24};
std::vector<int> tokens_of_rows() {
  std::vector<int> tokens;
  for (int r = 0; r < offsets.back(); ++r) tokens.push_back(r * 7 % num_tokens);
  return tokens;
}

/// The experts alone: rows in, rows out.
template <class ExpertT, class T, class EngineT>
class Bench {
 public:
  using Types = moe::Types<test::Exec, moe::Shape<>, moe::Precision<T>, typename EngineT::template type<test::Exec, T>>;
  using Parameters = typename ExpertT::template Parameters<Types>;

  explicit Bench(int intermediate)
      : shape{.experts = experts, .hidden = hidden, .intermediate = intermediate},
        parameters(expert.template parameters<Types>(moe::ParameterMaker<test::Exec>(exec, 1), shape)),
        gradients(expert.template parameters<Types>(moe::GradientMaker<test::Exec>(exec), shape)) {
    test::scatter(parameters);
    const auto make = [&](auto& arena) {
      typename Types::engine engine(exec, arena, expert.limits(shape, max_rows));
      return Parts{engine, arena.template matrix<T>(max_rows, moe::padded<T>(hidden)),
                   arena.template vector<T>(max_rows), expert.template tape<Types>(arena, shape, max_rows),
                   expert.template workspace<Types>(arena, shape, max_rows, moe::Use::training)};
    };
    const auto carved =
        moe::detail::carve(exec, moe::detail::allocate(exec, "test", moe::detail::measure<test::Exec>(make)), make);
    parts = carved;
    memory = carved.memory;
  }

  std::vector<T> forward(bool keep) {
    const auto context = this->context();
    if (keep) {
      expert.forward(context, parameters, segments(), source(x), parts.rows, parts.tape, parts.workspace);
    } else {
      expert.forward(context, parameters, segments(), source(x), parts.rows, moe::NoTape(), parts.workspace);
    }
    return result();
  }

  std::vector<double> reference(reference::Activation activation) const {
    const reference::Experts kinds{test::cast<double>(moe::to_host(parameters.in)),
                                   test::cast<double>(moe::to_host(parameters.down)), experts, ExpertT::parts == 2,
                                   activation};
    std::vector<double> rows;
    const auto tokens = tokens_of_rows();
    for (int e = 0; e < experts; ++e) {
      for (int r = offsets[e]; r < offsets[e + 1]; ++r) {
        const auto row = kinds(e, reference::row(values, hidden, tokens[r]));
        rows.insert(rows.end(), row.begin(), row.end());
      }
    }
    return rows;
  }

  /// The gradients' gates: of each row, <dy of its token, the row's result before the gate>.
  std::vector<T> backward_gates() {
    auto dy = source(test::rows<T>(delta, num_tokens, hidden));
    dy.scale = gates.data();
    const auto dy_view = test::rows<T>(delta, num_tokens, hidden);
    dy.data = dy_view.data();
    expert.backward(context(), parameters, parts.tape, segments(), source(x), dy, parts.d_gates, parts.rows, gradients,
                    moe::Backward(), parts.workspace);
    return test::slice(test::to_host(parts.d_gates), 0, offsets.back());
  }

  const test::Exec exec{};
  const ExpertT expert{};
  const moe::Shape<> shape;
  const std::vector<double> values = test::uniform<T>(1, num_tokens* hidden);
  const std::vector<double> delta = test::uniform<T>(2, num_tokens* hidden);
  Parameters parameters, gradients;

 private:
  static constexpr int max_rows = 40;  // more than there are: the host knows no better
  struct Parts {
    typename Types::engine engine;
    moe::Matrix<T, test::Memory> rows;
    moe::Vector<T, test::Memory> d_gates;
    typename ExpertT::template Tape<Types> tape;
    typename ExpertT::template Workspace<Types> workspace;
  };

  moe::Context<Types> context() const { return {exec, shape, parts.engine, num_tokens}; }
  moe::Segments segments() const { return {offsets_view.data(), experts, max_rows}; }
  moe::RowSource<T> source(const test::Rows<T>& view) const {
    return {.data = view.data(), .stride = hidden, .index = tokens_view.data()};
  }
  std::vector<T> result() const {
    return test::slice(test::to_host(parts.rows, hidden), 0, std::size_t(offsets.back()) * hidden);
  }

  test::Rows<T> x = test::rows<T>(values, num_tokens, hidden);
  test::Numbers<int> offsets_view = test::numbers<int>(offsets), tokens_view = test::numbers<int>(tokens_of_rows());
  test::Numbers<T> gates = test::numbers<T>(test::uniform(3, max_rows));
  Parts parts;
  Kokkos::View<std::byte*, test::Memory> memory;
};

template <class ExpertT, class T, class EngineT>
void check(reference::Activation activation) {
  for (const int intermediate : {1, 16, 17, 53}) {
    CAPTURE(intermediate);
    Bench<ExpertT, T, EngineT> bench(intermediate);
    const auto expected = bench.reference(activation);
    const auto rows = bench.forward(true);
    CHECK(test::error(rows, expected) < 2 * test::tolerance<T>);
    CHECK(test::same_bits(bench.forward(false), rows));

    const auto d_gates = bench.backward_gates();
    std::vector<double> dots;
    const auto tokens = tokens_of_rows();
    for (int r = 0; r < offsets.back(); ++r) {
      dots.push_back(0);
      for (int d = 0; d < hidden; ++d) dots.back() += bench.delta[tokens[r] * hidden + d] * expected[r * hidden + d];
    }
    CHECK(test::error(d_gates, dots) < 4 * test::tolerance<T>);

    // the expert without rows
    for (const auto& gradient : {moe::to_host(bench.gradients.in), moe::to_host(bench.gradients.down)}) {
      const std::size_t size = gradient.size() / experts;
      CHECK(test::all_zero(test::slice(gradient, size, size)));
      CHECK_FALSE(test::all_zero(test::slice(gradient, 2 * size, size)));
    }
  }
}

template <class T, class EngineT>
struct Setting {
  using type = T;
  using Engine = EngineT;
};
using Float = Setting<float, moe::BestEngine>;
using Double = Setting<double, moe::BestEngine>;
using FloatPortable = Setting<float, moe::PortableTeams>;

}  // namespace

TEST_CASE("Mlp is the reference's, and so are its gates' gradients", "[expert][feed_forward]") {
  check<moe::Mlp<moe::Gelu>, float, moe::BestEngine>(reference::gelu);
  check<moe::Mlp<moe::Relu>, float, moe::PortableTeams>(reference::relu);
}
TEMPLATE_TEST_CASE("GatedMlp is the reference's, and so are its gates' gradients", "[expert][feed_forward]", Float,
                   Double, FloatPortable) {
  check<moe::SwiGlu, typename TestType::type, typename TestType::Engine>(reference::silu);
}

TEST_CASE("SwiGlu is GatedMlp with silu", "[expert][feed_forward]") {
  STATIC_REQUIRE(std::is_same_v<moe::SwiGlu, moe::GatedMlp<moe::Silu>>);
  STATIC_REQUIRE(std::is_empty_v<moe::SwiGlu>);
}
