/// Whole layers of published shapes and their parts, in float, sizes at run time:
///
///     mixtral    (hidden, intermediate, experts, top_k) = (4096, 14336, 8, 2)
///     qwen3      (2048, 768, 128, 8)
///     deepseek   (7168, 2048, 256, 8)
///     small      (256, 128, 8, 2), to see that the program runs
///
/// An expert of the last published one is 176 MB, its gradient as much again. So a layer holds the most of its experts,
/// halved until they fit, whose weights and gradients take no more than 3/5 of the memory; the counters E and
/// experts_published say so. Fewer experts get more tokens each: compare such figures with nobody else's.

#include "support/layer.hpp"

#include <unistd.h>

#include <string>

namespace {

struct Published {
  const char* name;
  int hidden, intermediate, experts, top_k;
};

constexpr Published shapes[] = {{"mixtral", 4096, 14336, 8, 2},
                                {"qwen3", 2048, 768, 128, 8},
                                {"deepseek", 7168, 2048, 256, 8},
                                {"small", 256, 128, 8, 2}};

int experts_that_fit(const Published& shape) {
  const double memory = double(sysconf(_SC_PHYS_PAGES)) * double(sysconf(_SC_PAGESIZE));
  const double expert = 3.0 * shape.hidden * shape.intermediate * 2 * sizeof(float);
  int experts = shape.experts;
  while (experts > shape.top_k && experts * expert > 0.6 * memory) experts /= 2;
  return experts;
}

auto make_layer(const Published& shape) {
  return moe::Layer{
      moe::Shape<>{.experts = experts_that_fit(shape), .hidden = shape.hidden, .intermediate = shape.intermediate},
      moe::SoftmaxTopK<moe::dynamic>{.select = {.k = shape.top_k}}, moe::SwiGlu{}, moe::SwitchLoss{}};
}

const bool added = [] {
  for (const Published& shape : shapes) {
    bench::add_layer(std::string(shape.name) + "/", {1, 16, 128, 512, 4096}, [shape] {
      bench::LayerModel model(make_layer(shape), 4096);
      model.counters = {{"experts_published", double(shape.experts)},
                        {"hidden", double(shape.hidden)},
                        {"intermediate", double(shape.intermediate)}};
      return model;
    });
  }
  return true;
}();

}  // namespace
