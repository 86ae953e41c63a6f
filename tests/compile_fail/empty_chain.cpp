// expect-error: moe: a Chain needs at least one block

#include <moe/moe.hpp>

void test() {
#ifdef MOE_POSITIVE_TWIN
  moe::Chain chain{moe::RmsNorm{8}};
#else
  moe::Chain<> chain;
#endif
}
