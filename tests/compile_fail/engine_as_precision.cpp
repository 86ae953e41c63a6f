// expect-error: moe: the sixth argument of Layer is its precision

#include <moe/moe.hpp>

void test() {
#ifdef MOE_POSITIVE_TWIN
  moe::Layer layer{moe::Shape<4, 8, 8>{}, moe::SoftmaxTopK<2>{}, moe::SwiGlu{},       moe::NoBalance{},
                   moe::Dropless{},       moe::Precision<>{},    moe::PortableTeams{}};
#else
  moe::Layer layer{moe::Shape<4, 8, 8>{}, moe::SoftmaxTopK<2>{}, moe::SwiGlu{},
                   moe::NoBalance{},      moe::Dropless{},       moe::PortableTeams{}};
#endif
}
