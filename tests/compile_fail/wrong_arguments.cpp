// expect-error: moe: the seventh argument of Layer chooses its engine: moe::BestEngine{} or moe::PortableTeams{}
// expect-error: moe: the fourth argument of SoftMixture is its precision, after shape, expert and slots: moe::Precision<double>{}
// expect-error: moe: the fifth argument of SoftMixture chooses its engine: moe::BestEngine{} or moe::PortableTeams{}
// expect-error: moe: Precision<StorageT> knows float, double, moe::bfloat16 and moe::half
// expect-error: moe: Mixed needs at least one kind of experts: moe::Mixed{moe::of<8>(moe::SwiGlu{})}
// expect-error: moe: moe::Replay takes a View of rank 2, [tokens, slots]

// Arguments in each other's place, and of a kind that nobody knows.

#include <moe/moe.hpp>

namespace {

using Exec = Kokkos::DefaultHostExecutionSpace;
using Shape = moe::Shape<4, 8, 8>;
using Slots = moe::SoftSlots;
using Routing = moe::Routing<moe::Types<Exec, Shape, moe::Precision<float>, moe::PortableEngine<Exec, float>>>;

#ifdef MOE_POSITIVE_TWIN
using Precision = moe::Precision<float>;
using Engine = moe::PortableTeams;
using Storage = float;
using Kinds = moe::Mixed<moe::Kind<moe::SwiGlu>>;
using Recorded = Kokkos::View<int**>;
#else
using Precision = moe::SwiGlu;
using Engine = moe::SwiGlu;
using Storage = int;
using Kinds = moe::Mixed<>;
using Recorded = Kokkos::View<int*>;
#endif

[[maybe_unused]] void use(const Routing& routing, const Recorded& recorded) {
  moe::Layer<Shape, moe::SoftmaxTopK<2>, moe::SwiGlu, moe::NoBalance, moe::Dropless, moe::Precision<>, Engine>(Shape{});
  moe::SoftMixture<Shape, moe::SwiGlu, Precision>(Shape{});
  moe::SoftMixture<Shape, moe::SwiGlu, moe::Precision<>, Engine>(Shape{});
  moe::Precision<Storage>();
  Kinds();
  moe::detail::replay_token(routing, moe::Replay<Recorded>{recorded}, 4);
}

}  // namespace
