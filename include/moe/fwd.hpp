#pragma once

/// \file
/// The names of the library without their definitions, and without Kokkos: for headers that only pass layers and
/// policies on. Default arguments stand with the definitions; include moe/moe.hpp where a layer is composed.

#include <cstdint>

namespace moe {

class Error;

template <int N>
struct Size;
template <int ExpertsV, int HiddenV, int IntermediateV>
struct Shape;
template <class StorageT, class WeightT, class RowT>
struct Precision;
struct BestEngine;
struct PortableTeams;

template <class T, class MemoryT, class LayoutT>
class Tensor;
template <class ExecT, class ShapeT, class PrecisionT, class EngineT>
struct Types;
template <class TypesT>
struct Context;
template <class TypesT>
struct Routing;
template <class TypesT>
struct Plan;
template <class PolicyT>
struct Frozen;
struct Zeros;
struct Ones;
struct Normal;
struct TruncatedNormal;
struct Uniform;
struct FanInUniform;
struct SwitchNormal;
struct LecunNormal;
struct XavierUniform;
struct XavierNormal;
struct KaimingNormal;
struct ResidualNormal;
enum class Use;
struct Backward;

template <class ViewT, class... SidesT>
struct Inputs;
template <class ViewT>
struct TokenIds;
template <class T>
struct Step;
template <class ViewT>
struct Padding;
template <class ViewT>
struct Replay;

struct NoBias;
struct WithBias;
template <class BiasT>
struct LinearProjection;
template <class ProjectionT>
struct Jitter;
template <class ProjectionT>
struct Noisy;
template <class ProjectionT>
struct Masked;
struct Softmax;
struct Sigmoid;
struct IdentityScore;
struct ReluScore;
struct SqrtSoftplus;
template <int KV>
struct TopK;
template <int NV>
struct GroupBest;
template <int KV, int GroupsV, int TopGroupsV, class GroupScoreT>
struct GroupTopK;
template <int MaxKV>
struct TopP;
template <int MaxKV>
struct Threshold;
struct AllExperts;
struct ExpertChoice;
template <int KV>
struct Sinkhorn;
struct Keep;
struct Normalise;
struct SoftmaxSelected;
template <class WeighT>
struct Scaled;
struct NoSelectionBias;
struct SelectionBias;
template <class ProjectionT, class ScoreT, class SelectT, class WeighT, class SelectionBiasT>
struct Router;
template <int KV>
struct HashRule;
template <int KV>
struct TableRule;
template <int KV>
struct RandomRule;
template <class RuleT>
struct RuleRouter;

struct Identity;
struct Relu;
struct ReluSquared;
struct Silu;
struct Gelu;
struct GeluTanh;
template <class ActivationT>
struct Plain;
template <class ActivationT>
struct Gated;
struct ClampedGated;
template <class ActivationT, class BiasT, class InitT>
struct FeedForward;
template <class ExpertT, int RankV>
struct Lora;
struct Null;
struct Copy;
struct Constant;
template <class ExpertT, class CountT, class IntermediateT>
struct Kind;
template <class... KindsT>
class Mixed;

struct NoBalance;
struct SwitchLoss;
struct ZLoss;
struct ImportanceLoss;
struct LoadLoss;
struct SequenceBalance;
struct GlobalBalance;
struct EntropyLoss;
struct LossFreeBias;
template <class... BalancersT>
struct Balance;

struct Dropless;
struct DropByPosition;
struct DropByToken;
struct DropByGate;
struct DropByPriority;
struct FillIn;
struct PassZero;
struct PassIdentity;
struct Rectify;
template <class DropT, class DroppedT>
struct Capacity;

template <class ShapeT, class RouterT, class ExpertT, class BalancerT, class DispatcherT, class PrecisionT,
          class EngineT>
class Layer;
template <class... BlocksT>
class Chain;
template <class BlockT>
class Residual;
template <int HiddenV, class PrecisionT>
class RmsNorm;
template <class BiasT, class PrecisionT, class EngineT>
class Linear;
struct SoftSlots;
template <class ShapeT, class ExpertT, class PrecisionT, class EngineT>
class SoftMixture;

template <class... PartsT>
struct Trees;
struct AdamW;
struct ClipNorm;
struct CosineSchedule;
struct CrossEntropy;
template <class PrecisionT>
class Embedding;

}  // namespace moe
