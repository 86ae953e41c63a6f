// expect-error: moe: TopK<K> chooses among the experts: K must not exceed their number

#include <moe/moe.hpp>

#ifdef MOE_POSITIVE_TWIN
using Router = moe::SoftmaxTopK<4>;
#else
using Router = moe::SoftmaxTopK<5>;
#endif

void test() { moe::Layer layer{moe::Shape<4, 8, 8>{}, Router{}, moe::SwiGlu{}}; }
