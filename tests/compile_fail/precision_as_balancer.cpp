// expect-error: moe: the fourth argument of Layer is a balancer; write moe::NoBalance{} before dispatcher and precision

#include <moe/moe.hpp>

void test() {
#ifdef MOE_POSITIVE_TWIN
  moe::Layer layer{moe::Shape<4, 8, 8>{}, moe::SoftmaxTopK<2>{}, moe::SwiGlu{},
                   moe::NoBalance{},      moe::Dropless{},       moe::Precision<double>{}};
#else
  moe::Layer layer{moe::Shape<4, 8, 8>{}, moe::SoftmaxTopK<2>{}, moe::SwiGlu{}, moe::Precision<double>{}};
#endif
}
