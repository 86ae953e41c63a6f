// expect-error: moe: a static size must not be negative

#include <moe/moe.hpp>

#ifdef MOE_POSITIVE_TWIN
using Shape = moe::Shape<3, 8, 8>;
#else
using Shape = moe::Shape<-3, 8, 8>;
#endif

int experts() { return Shape{}.experts; }
