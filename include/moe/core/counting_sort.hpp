#pragma once

#include <moe/core/kernel.hpp>

#include <algorithm>
#include <cstdint>
#include <string>

namespace moe::detail {

/// counts[block, key]: the block's items of each key.
template <class KeyT>
struct CountKeys {
  KeyT key;
  int* counts;
  std::int64_t items;
  std::int64_t block;
  int keys;

  KOKKOS_FUNCTION void operator()(std::int64_t b) const {
    int* const mine = counts + b * keys;
    for (int k = 0; k < keys; ++k) mine[k] = 0;
    const std::int64_t end = Kokkos::min(items, (b + 1) * block);
    for (std::int64_t i = b * block; i < end; ++i) {
      if (const int k = key(i); k >= 0) ++mine[k];
    }
  }
};

/// For one key: its counts become the number of items in the blocks before; offsets[key + 1] the number of all.
struct ScanBlocks {
  int* counts;
  int* offsets;
  std::int64_t blocks;
  int keys;

  KOKKOS_FUNCTION void operator()(std::int64_t k) const {
    int sum = 0;
    for (std::int64_t b = 0; b < blocks; ++b) {
      int& count = counts[b * keys + k];
      const int before = sum;
      sum += count;
      count = before;
    }
    offsets[k + 1] = sum;
  }
};

struct ScanKeys {
  int* offsets;
  int keys;

  KOKKOS_FUNCTION void operator()(std::int64_t) const {
    offsets[0] = 0;
    for (int k = 0; k < keys; ++k) offsets[k + 1] += offsets[k];
  }
};

template <class KeyT, class PlaceT>
struct PlaceItems {
  KeyT key;
  PlaceT place;
  int* next;
  const int* offsets;
  std::int64_t items;
  std::int64_t block;
  int keys;

  KOKKOS_FUNCTION void operator()(std::int64_t b) const {
    int* const mine = next + b * keys;
    const std::int64_t end = Kokkos::min(items, (b + 1) * block);
    for (std::int64_t i = b * block; i < end; ++i) {
      const int k = key(i);
      place(i, k < 0 ? -1 : offsets[k] + mine[k]++);
    }
  }
};

/// A stable sort of items by a small integer, on the device: items of one key stay in their order, whatever the threads
/// do, because one work item counts and places a whole block of neighbours.
class CountingSort {
 public:
  CountingSort() = default;
  template <class ArenaT>
  CountingSort(ArenaT& arena, std::int64_t max_items, int keys)
      : counts_(arena.template take<int>(blocks(max_items, keys) * keys)), keys_(keys) {}

  /// offsets [keys + 1]: key k has the positions offsets[k] .. offsets[k + 1] - 1. Then place(item, position) for every
  /// item; an item whose key(item) is negative is in nobody's range, and its position is -1.
  template <class ExecT, class KeyT, class PlaceT>
  void operator()(const ExecT& exec, const std::string& label, std::int64_t items, const KeyT& key, int* offsets,
                  const PlaceT& place) const {
    const std::int64_t block = block_size(keys_), count = blocks(items, keys_);
    launch(exec, label, count, CountKeys<KeyT>{key, counts_, items, block, keys_});
    launch(exec, label, keys_, ScanBlocks{counts_, offsets, count, keys_});
    launch(exec, label, 1, ScanKeys{offsets, keys_});
    launch(exec, label, count, PlaceItems<KeyT, PlaceT>{key, place, counts_, offsets, items, block, keys_});
  }

 private:
  /// Items of a block: enough that the counts take no more memory than the items, and that small sorts are one block.
  static std::int64_t block_size(int keys) { return std::max(512, keys); }
  static std::int64_t blocks(std::int64_t items, int keys) { return (items + block_size(keys) - 1) / block_size(keys); }

  int* counts_ = nullptr;  ///< [blocks, keys]
  int keys_ = 0;
};

}  // namespace moe::detail
