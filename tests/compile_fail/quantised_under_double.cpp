// expect-error: moe: Precision<double> has weights of double: what is computed in double has no use for shorter ones

#include <moe/moe.hpp>

#ifdef MOE_POSITIVE_TWIN
using Storage = float;
#else
using Storage = double;
#endif

void test() {
  const moe::Layer layer{moe::Shape<5, 8, 8>{}, moe::SoftmaxTopK<2>{}, moe::SwiGlu{},
                         moe::NoBalance{},      moe::Dropless{},       moe::Precision<Storage, moe::int8>{}};
  (void)layer;
}
