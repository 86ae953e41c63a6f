// expect-error: moe: a router needs `template <class TypesT> struct Parameters`; NoParameters if it has none
// expect-error: moe: a router needs `template <class TypesT> struct Tape`; Nothing if it keeps nothing
// expect-error: moe: a router needs `template <class TypesT> struct Workspace`; Nothing if it needs none
// expect-error: moe: a router needs `int slots(shape) const`, the experts that a token can have
// expect-error: moe: a router needs `int max_rows(shape, num_tokens) const`, the most assignments that it makes
// expect-error: moe: a router needs `EngineLimits limits(shape, max_tokens) const`; {} if it multiplies nothing
// expect-error: moe: a router needs `parameters<TypesT>(maker, shape) const`, which makes its tensors
// expect-error: moe: a router needs `tape<TypesT>(arena, shape, max_tokens) const`, which makes its Tape
// expect-error: moe: a router needs `workspace<TypesT>(arena, shape, max_tokens) const`, which makes its Workspace
// expect-error: moe: a router needs `route(context, parameters, inputs, routing, tape, workspace) const`
// expect-error: moe: to be trained, a router needs `backward(context, parameters, inputs, routing, tape, d_gates,
// expect-error: moe: an expert needs `template <class TypesT> struct Parameters`; NoParameters if it has none
// expect-error: moe: an expert needs `template <class TypesT> struct Tape`; Nothing if it keeps nothing
// expect-error: moe: an expert needs `template <class TypesT> struct Workspace`; Nothing if it needs none
// expect-error: moe: an expert needs `EngineLimits limits(shape, max_rows) const`; {} if it multiplies nothing
// expect-error: moe: an expert needs `parameters<TypesT>(maker, shape) const`, which makes its tensors
// expect-error: moe: an expert needs `tape<TypesT>(arena, shape, max_rows) const`, which makes its Tape
// expect-error: moe: an expert needs `workspace<TypesT>(arena, shape, max_rows, use) const`, which makes its Workspace
// expect-error: moe: an expert needs `forward(context, parameters, segments, source, rows, tape, workspace) const`
// expect-error: moe: to be trained, an expert needs `backward(context, parameters, tape, segments, x, dy,
// expect-error: moe: a dispatcher needs `template <class TypesT> struct Workspace`; Nothing if it needs none
// expect-error: moe: a dispatcher needs `workspace<TypesT>(arena, shape, max_tokens, slots) const`, which makes its
// expect-error: moe: a dispatcher needs `plan(context, routing, plan, workspace) const`
// expect-error: moe: a dispatcher needs `combine(context, routing, plan, rows, y, beta) const`
// expect-error: moe: to be trained, a dispatcher needs `combine_backward(context, plan, d_gate_rows, d_rows,
// expect-error: moe: a balancer with losses needs `template <class TypesT> struct Workspace`; Nothing if it needs none
// expect-error: moe: a balancer with losses needs `workspace<TypesT>(arena, shape, max_tokens) const`, which makes its
// expect-error: moe: a balancer with losses needs `static std::vector<std::string> loss_names()`, one for each
// expect-error: moe: a balancer with losses needs `loss(context, routing, plan, losses, workspace) const`, which writes
// expect-error: moe: a balancer with losses needs `backward(context, routing, plan, d_scores, d_logits, scale,

// Every member that a layer asks a policy for, left out once.

#include <moe/moe.hpp>

namespace {

using Router = moe::SoftmaxTopK<2>;
using Expert = moe::SwiGlu;
using Dispatcher = moe::Dropless;
using Exec = Kokkos::DefaultExecutionSpace;

#ifdef MOE_POSITIVE_TWIN
#define LEAVE_OUT(name, policy, member) using name = policy
#define LEAVE_OUT_TYPE(name, policy, member) using name = policy
#else
// What is private is not there for anybody else.
#define LEAVE_OUT(name, policy, member) \
  struct name : policy {                \
   private:                             \
    using policy::member;               \
  }
#define LEAVE_OUT_TYPE(name, policy, member) \
  struct name : policy {                     \
   private:                                  \
    template <class T>                       \
    struct member {};                        \
  }
#endif

template <class RouterT, class ExpertT, class DispatcherT>
void use(const Exec& exec) {
  using Layer = moe::Layer<moe::Shape<4, 8, 8>, RouterT, ExpertT, moe::NoBalance, DispatcherT>;
  const Layer layer{moe::Shape<4, 8, 8>{}};
  layer.parameters(exec);
}
template <class RouterT, class ExpertT, class DispatcherT>
void train(const Exec& exec) {
  using Layer = moe::Layer<moe::Shape<4, 8, 8>, RouterT, ExpertT, moe::NoBalance, DispatcherT>;
  const Layer layer{moe::Shape<4, 8, 8>{}};
  const auto parameters = layer.parameters(exec), gradients = layer.gradients(exec);
  auto workspace = layer.workspace(exec, 3);
  auto tape = layer.tape(exec, 3);
  const Kokkos::View<float**, Kokkos::LayoutRight, Exec> x("x", 3, 8);
  layer.backward(exec, parameters, tape, x, x, gradients, workspace);
}

template <class BalancerT, bool AmongOthersV>
void balance(const Exec& exec) {
  using Several = std::conditional_t<AmongOthersV, moe::Balance<moe::SwitchLoss, BalancerT>, BalancerT>;
  const moe::Layer<moe::Shape<4, 8, 8>, Router, Expert, Several> layer{moe::Shape<4, 8, 8>{}};
  layer.parameters(exec);
}

#define ROUTER(number, macro, member)    \
  macro(Router##number, Router, member); \
  [[maybe_unused]] void router##number(const Exec& exec) { use<Router##number, Expert, Dispatcher>(exec); }
#define EXPERT(number, macro, member)    \
  macro(Expert##number, Expert, member); \
  [[maybe_unused]] void expert##number(const Exec& exec) { use<Router, Expert##number, Dispatcher>(exec); }
#define DISPATCHER(number, macro, member)        \
  macro(Dispatcher##number, Dispatcher, member); \
  [[maybe_unused]] void dispatcher##number(const Exec& exec) { use<Router, Expert, Dispatcher##number>(exec); }

// The even ones stand among others.
#define BALANCER(number, macro, member)        \
  macro(Balancer##number, moe::ZLoss, member); \
  [[maybe_unused]] void balancer##number(const Exec& exec) { balance<Balancer##number, number % 2 == 0>(exec); }

ROUTER(1, LEAVE_OUT_TYPE, Parameters)
ROUTER(2, LEAVE_OUT_TYPE, Tape)
ROUTER(3, LEAVE_OUT_TYPE, Workspace)
ROUTER(4, LEAVE_OUT, slots)
ROUTER(5, LEAVE_OUT, max_rows)
ROUTER(6, LEAVE_OUT, limits)
ROUTER(7, LEAVE_OUT, parameters)
ROUTER(8, LEAVE_OUT, tape)
ROUTER(9, LEAVE_OUT, workspace)
ROUTER(10, LEAVE_OUT, route)

EXPERT(1, LEAVE_OUT_TYPE, Parameters)
EXPERT(2, LEAVE_OUT_TYPE, Tape)
EXPERT(3, LEAVE_OUT_TYPE, Workspace)
EXPERT(4, LEAVE_OUT, limits)
EXPERT(5, LEAVE_OUT, parameters)
EXPERT(6, LEAVE_OUT, tape)
EXPERT(7, LEAVE_OUT, workspace)
EXPERT(8, LEAVE_OUT, forward)

DISPATCHER(1, LEAVE_OUT_TYPE, Workspace)
DISPATCHER(2, LEAVE_OUT, workspace)
DISPATCHER(3, LEAVE_OUT, plan)
DISPATCHER(4, LEAVE_OUT, combine)

BALANCER(1, LEAVE_OUT_TYPE, Workspace)
BALANCER(2, LEAVE_OUT, workspace)
BALANCER(3, LEAVE_OUT, loss_names)
BALANCER(4, LEAVE_OUT, loss)
BALANCER(5, LEAVE_OUT, backward)

LEAVE_OUT(UntrainedRouter, Router, backward);
LEAVE_OUT(UntrainedExpert, Expert, backward);
LEAVE_OUT(UntrainedDispatcher, Dispatcher, combine_backward);

[[maybe_unused]] void train_router(const Exec& exec) { train<UntrainedRouter, Expert, Dispatcher>(exec); }
[[maybe_unused]] void train_expert(const Exec& exec) { train<Router, UntrainedExpert, Dispatcher>(exec); }
[[maybe_unused]] void train_dispatcher(const Exec& exec) { train<Router, Expert, UntrainedDispatcher>(exec); }

}  // namespace
