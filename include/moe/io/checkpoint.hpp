#pragma once

#include <moe/core/error.hpp>
#include <moe/core/parameters.hpp>
#include <moe/core/quantised.hpp>
#include <moe/io/file_tensor.hpp>
#include <moe/io/safetensors.hpp>

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

namespace moe {

/// \file
/// Trees of tensors in a safetensors file: parameters with their buffers, the state of an optimiser, or both. Elements are in
/// logical [out, in] order, whatever layout the engine keeps them in: a file serves every engine and machine.
///
///     moe::save("model.safetensors", parameters);
///     moe::load("model.safetensors", parameters);
///
///     moe::save("run.safetensors", {{"text", "shakespeare"}}, parameters, optimiser_state);   // after update()
///     moe::load("run.safetensors", parameters, optimiser_state);       // the run goes on with the same bits
///
/// A quantised tensor is written with its bits: as U8 under its name and its type's, "experts.gate_up.int8", of shape
/// [experts, bytes of a matrix]. The bytes are panels of lines of words as core/layout.hpp has them (CodedPanel), codes and
/// scales as core/quantised.hpp has them (Code), little-endian; the logical shape stands in the metadata under the same
/// name, "[64, 2, 1024, 512]". Where a file has no such tensor but one of numbers by the plain name (F32, F64, BF16, F16), that
/// is quantised while it is read, one expert's matrix at a time: so a model that fits into memory only when it is quantised
/// is loaded from the file of the float one, with nothing more to say.

/// How a file is read.
struct LoadOptions {
  bool ignore_unknown = false;  ///< leave out tensors of the file that the trees have not: only the parameters of a run
  /// Take tensors of another type to the nearest: BF16 into float, F32 into bfloat16, int8 into float or int4. Without it only
  /// quantised tensors are made of others.
  bool convert = false;
};

namespace detail {

/// f(tensor) for each tensor of each tree.
template <class F, class... TreesT>
void for_each_in(F&& f, TreesT&... trees) {
  (for_each_tensor(f, trees), ...);
}

}  // namespace detail

/// Writes all tensors of the trees, and the metadata. Waits for the device. Replaces the file as a whole or not at all.
/// \throws Error if two tensors have the same name, or if the file cannot be written.
template <class... TreesT>
void save(const std::filesystem::path& path, const Metadata& metadata, const TreesT&... trees) {
  Kokkos::fence("moe::save");
  SafetensorsWriter writer;
  Metadata all = metadata;
  detail::for_each_in(
      [&](const auto& tensor) {
        using T = typename std::decay_t<decltype(tensor)>::value_type;
        const std::string name = detail::file_name<T>(tensor.name);
        if constexpr (is_quantised_v<T>) {
          all[name] = detail::safetensors::text_of(detail::logical_shape(tensor));
          writer.add<std::uint8_t>(name, detail::file_shape<T>(tensor),
                                   [&tensor] { return detail::coded_bytes(tensor); });
        } else {
          writer.add<T>(name, detail::file_shape<T>(tensor), [&tensor] { return to_host(tensor); });
        }
      },
      trees...);
  writer.write(path, all);
}
template <class TreeT, class... TreesT>
requires(!std::is_convertible_v<const TreeT&, Metadata>) void save(const std::filesystem::path& path, const TreeT& tree,
                                                                   const TreesT&... trees) {
  save(path, Metadata{}, tree, trees...);
}

/// Overwrites all tensors of the trees with those of the file, by name. Waits for the device.
/// \throws Error if the file cannot be read, lacks a tensor, has one that the trees have not, or one of another shape, or
///         of a type that the options do not allow; no tensor has changed then.
template <class... TreesT>
void load(const std::filesystem::path& path, const LoadOptions& options, TreesT&&... trees) {
  const SafetensorsReader file(path);
  std::set<std::string> known;
  detail::for_each_in(
      [&](const auto& tensor) {
        std::string name;
        detail::with_file_type(file, tensor, options.convert,
                               [&]<class T>() { name = detail::file_name<T>(tensor.name); });
        if (!known.insert(name).second) {
          throw Error("moe::load: two tensors are called '" + tensor.name +
                      "'; make each block's with a path of its own: block.make_parameters(moe::ParameterMaker(exec, "
                      "seed).in(\"head\"))");
        }
      },
      trees...);
  if (!options.ignore_unknown) {
    std::string unknown;
    for (const auto& [name, entry] : file.entries()) {
      if (!known.contains(name)) unknown += (unknown.empty() ? "'" : ", '") + name + "'";
    }
    if (!unknown.empty()) {
      file.fail("has tensors that are not asked for: " + unknown +
                "; LoadOptions{.ignore_unknown = true} leaves them out");
    }
  }
  Kokkos::fence("moe::load");
  detail::for_each_in(
      [&](auto& tensor) {
        detail::with_file_type(file, tensor, options.convert, [&]<class T>() {
          if constexpr (detail::has_matrices<std::decay_t<decltype(tensor)>>) {
            detail::read_matrices<T>(file, tensor);
          } else {
            assign(tensor, file.read<T>(tensor.name, detail::logical_shape(tensor)));
          }
        });
      },
      trees...);
}
template <class TreeT, class... TreesT>
requires(!std::is_same_v<std::decay_t<TreeT>, LoadOptions>) void load(const std::filesystem::path& path, TreeT&& tree,
                                                                      TreesT&&... trees) {
  load(path, LoadOptions{}, tree, trees...);
}

}  // namespace moe
