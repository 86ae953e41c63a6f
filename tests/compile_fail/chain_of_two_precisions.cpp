// expect-error: moe: all blocks of a Chain must have the same storage type; give each the same Precision

#include <moe/moe.hpp>

#ifdef MOE_POSITIVE_TWIN
using Second = moe::Precision<float>;
#else
using Second = moe::Precision<double>;
#endif

void test() { moe::Chain chain{moe::RmsNorm{8}, moe::RmsNorm{8, 1e-6, Second{}}}; }
