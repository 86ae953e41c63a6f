// expect-error: moe: TopK<K> needs K > 0, or moe::dynamic
// expect-error: moe: TopP<MaxK> needs MaxK > 0, or moe::dynamic
// expect-error: moe: Threshold<MaxK> needs MaxK > 0, or moe::dynamic
// expect-error: moe: Sinkhorn<K> needs K > 0, or moe::dynamic
// expect-error: moe: HashRouter<K> needs K > 0, or moe::dynamic
// expect-error: moe: TableRouter<K> needs K > 0, or moe::dynamic
// expect-error: moe: RandomRouter<K> needs K > 0, or moe::dynamic
// expect-error: moe: GroupBest<N> needs N > 0
// expect-error: moe: GroupTopK<K, Groups, TopGroups> needs K > 0, or moe::dynamic
// expect-error: moe: GroupTopK<K, Groups, TopGroups> needs Groups > 0
// expect-error: moe: GroupTopK<K, Groups, TopGroups> needs TopGroups > 0
// expect-error: moe: GroupTopK<K, Groups, TopGroups> keeps TopGroups of the groups: it must not exceed Groups

// Every number that a choice is made of, wrong once.

#include <moe/moe.hpp>

namespace {

#ifdef MOE_POSITIVE_TWIN
constexpr int none = 1, more = 2;
#else
constexpr int none = 0, more = 3;
#endif

[[maybe_unused]] void use() {
  moe::TopK<none>();
  moe::TopP<none>();
  moe::Threshold<none>();
  moe::Sinkhorn<none>();
  moe::HashRouter<none>();
  moe::TableRouter<none>();
  moe::RandomRouter<none>();
  moe::GroupBest<none>();
  moe::GroupTopK<none, 2, 2>();
  moe::GroupTopK<2, none, 1>();
  moe::GroupTopK<2, 2, none>();
  moe::GroupTopK<2, 2, more>();
}

}  // namespace
