#pragma once

#include <moe/core/simd.hpp>
#include <moe/gemm/engine.hpp>
#include <moe/gemm/host/block.hpp>
#include <moe/gemm/host/tile.hpp>

#include <algorithm>
#include <cstdint>

namespace moe::detail {

/// The sums of a task, [row][line][part][lane], and where they belong.
template <class T>
struct Finish {
  const T* sums;
  std::int64_t sums_row;
  int expert, first_row, first_line;
  int columns;           ///< of the whole product
  const void* epilogue;  ///< of the kernel's type
};

/// Some of its rows and lines, which are complete.
template <class T>
struct FinishPart {
  const Finish<T>& all;
  int first_row, rows, first_line, lines;
};

/// Calls the epilogue with vectors of 32 bytes, whatever the leaf, so that its bits do not depend on the leaf.
template <class T, class EpilogueT>
struct FinishKernel {
  static constexpr int parts = EpilogueT::parts;
  static constexpr int part_lanes = line<T> / parts;
  static constexpr int lanes = std::min(32 / int(sizeof(T)), part_lanes);
  using V = Simd<T, lanes>;

  template <class LeafT>
  static void take(const void* context, int first_row, int rows, int first_line, int lines) {
    const auto& all = *static_cast<const Finish<T>*>(context);
    LeafT::template call<FinishKernel>(FinishPart<T>{all, first_row, rows, first_line, lines});
  }

  static constexpr bool prepares = requires(const EpilogueT& e) { e.prepare(0, 0); };

  /// Has the epilogue fetch what it will read or write, a line of columns at a time.
  static void prepare([[maybe_unused]] const void* context, [[maybe_unused]] int first_row, [[maybe_unused]] int rows,
                      [[maybe_unused]] int first_line, [[maybe_unused]] int lines) {
    if constexpr (prepares) {
      const auto& f = *static_cast<const Finish<T>*>(context);
      const auto& epilogue = *static_cast<const EpilogueT*>(f.epilogue);
      const int first = (f.first_line + first_line) * part_lanes;
      const int end = std::min(first + lines * part_lanes, f.columns);
      for (int row = f.first_row + first_row; row < f.first_row + first_row + rows; ++row) {
        for (int column = first; column < end; column += line<T>) epilogue.prepare(row, column);
      }
    }
  }

  template <class LeafT>
  static MOE_LEAF void run(const FinishPart<T>& part) {
    const Finish<T>& f = part.all;
    const auto& epilogue = *static_cast<const EpilogueT*>(f.epilogue);
    const int first = (f.first_line + part.first_line) * part_lanes;
    const int end = std::min(first + part.lines * part_lanes, f.columns);
    const T* sums = f.sums + part.first_row * f.sums_row + part.first_line * line<T>;
    for (int row = f.first_row + part.first_row; row < f.first_row + part.first_row + part.rows; ++row) {
      T dot = 0;
      for (int column = first; column < end; column += lanes) {
        const int within = column - first;
        V values[parts];
        for (int p = 0; p < parts; ++p) {
          values[p] = simd::load<V>(sums + within / part_lanes * line<T> + p * part_lanes + within % part_lanes);
        }
        const int left = end - column;
        if (left < lanes) {
          for (int p = 0; p < parts; ++p) clear_behind(left, values[p]);
        }
        call(epilogue, f.expert, row, column, std::min(left, lanes), values, dot);
      }
      if constexpr (EpilogueT::row_dot) {
        if (end % dot_columns != 0) epilogue.partial(row, end / dot_columns, dot);
      }
      sums += f.sums_row;
    }
  }

 private:
  /// Weights past the last column are zeros, but zero times infinity is not.
  static MOE_LEAF void clear_behind(int left, V& v) {
    for (int i = 0; i < lanes; ++i) v.native[i] = i < left ? v.native[i] : T(0);
  }

  static MOE_LEAF void call(const EpilogueT& epilogue, int expert, int row, int column, int width, const V* values,
                            T& dot) {
    if constexpr (EpilogueT::row_dot) {
      const V products = epilogue(expert, row, column, values);
      if (width == lanes) {
        for (int i = 0; i < lanes; ++i) dot += simd::lane(products, i);
      } else {
        for (int i = 0; i < width; ++i) dot += simd::lane(products, i);
      }
      if ((column + width) % dot_columns == 0) {
        epilogue.partial(row, column / dot_columns, dot);
        dot = 0;
      }
    } else {
      epilogue(expert, row, column, values);
    }
  }
};

/// How a product hands its sums on. It does not know the epilogue's type: there are many of them, and each product would
/// be compiled for each.
struct Finisher {
  Taker::Function take, prepare;
  int unit;  ///< lines that an epilogue must get together, for its row dots
};

template <class T, class EpilogueT>
struct PickFinisher {
  template <class LeafT>
  Finisher operator()() const {
    using Kernel = FinishKernel<T, EpilogueT>;
    return {&Kernel::template take<LeafT>, Kernel::prepares ? &Kernel::prepare : nullptr,
            dot_columns / Panels::lanes<T>(EpilogueT::parts)};
  }
};

/// A product and its epilogue, to be launched.
template <class ProductT, class EpilogueT>
struct WithEpilogue {
  ProductT product;
  EpilogueT epilogue;
  void operator()(int thread) const { product(thread, &epilogue); }
};

}  // namespace moe::detail
