#include "quantise.hpp"

#include "default_text.hpp"
#include "mixture.hpp"
#include "model.hpp"
#include "predictor.hpp"
#include "run.hpp"
#include "settings.hpp"
#include "text.hpp"

#include <moe/io/checkpoint.hpp>
#include <moe/moe.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// A trained model, and the text that it is measured on.
class Trained {
  template <class MixtureT>
  auto model_of(const MixtureT& mixture) const {
    return LanguageModel(mixture, shape_.embedding, context_bytes);
  }

 public:
  explicit Trained(const std::filesystem::path& path)
      : path_(path), file_(path), shape_(shape()), model_(model_of(make_mixture(shape_))) {
    const auto setup = nlohmann::json::parse(metadata("setup")).get<Setup>();
    text_ = read_text(setup.text, setup.max_bytes);
    if (std::to_string(text_.digest()) != metadata("text_digest")) {
      throw UsageError("the text is not the one that " + path.string() + " was trained on; train it again");
    }
    parameters_ = model_.parameters(exec_);
    moe::load(path, parameters_);
  }

  /// A line of the table: experts' matrices in WeightT, rows as RowT has it.
  template <class WeightT, class RowT = moe::ExactRows>
  void print_line(const char* name) const {
    const auto model = model_of(moe::quantised<WeightT, RowT>(make_mixture(shape_)));
    const auto parameters = model.parameters(exec_);
    moe::load(path_, moe::LoadOptions{.convert = true}, parameters);  // one expert's matrix at a time
    Predictor predictor(exec_, model);
    const double bits = predictor.bits_per_byte(parameters, text_, text_.held_out);
    const auto start = std::chrono::steady_clock::now();
    predictor.bits_per_byte(parameters, text_, text_.held_out);
    const double together = seconds_since(start) / double(text_.held_out.size());
    const auto errors = experts(moe::quantisation_error(exec_, parameters_, parameters));
    const auto all = moe::overall(errors);
    std::printf("%-22s %11.2f %8.2f %10.3f %% %10.2f %12.4f %12.2f %12.2f\n", name, all.bits_per_weight,
                megabytes(parameters), 100 * all.relative_rms, all.relative_max, bits, 1e6 * together,
                1e6 * alone(model, parameters));
  }

 private:
  static std::vector<moe::QuantisationError> experts(std::vector<moe::QuantisationError> errors) {
    std::erase_if(errors, [](const auto& e) { return e.name.find(".experts.") == std::string::npos; });
    return errors;
  }

  /// Seconds for one byte at a time, where it is a matter of reading the weights.
  template <class ModelT, class ParametersT>
  double alone(const ModelT& model, const ParametersT& parameters) const {
    Predictor predictor(exec_, model, 1);
    const auto some = std::span(text_.held_out).first(std::min<std::size_t>(text_.held_out.size(), 2000));
    predictor.bits_per_byte(parameters, text_, some.first(1));
    const auto start = std::chrono::steady_clock::now();
    predictor.bits_per_byte(parameters, text_, some);
    return seconds_since(start) / double(some.size());
  }

  template <class ParametersT>
  static double megabytes(const ParametersT& parameters) {
    double bytes = 0;
    moe::for_each_tensor(
        [&](const auto& tensor) {
          using T = typename std::decay_t<decltype(tensor)>::value_type;
          bytes += double(tensor.storage.size() * sizeof(T));
        },
        parameters);
    return bytes / 1e6;
  }

  const std::string& metadata(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    if (found == file_.metadata().end()) throw UsageError(path_.string() + " is not a model that a run has written");
    return found->second;
  }
  ModelShape shape() const { return nlohmann::json::parse(metadata("shape")).get<ModelShape>(); }

  Exec exec_;
  std::filesystem::path path_;
  moe::SafetensorsReader file_;
  ModelShape shape_;
  LanguageModel<decltype(make_mixture(shape_))> model_;
  Text text_;
  decltype(model_.parameters(exec_)) parameters_;
};

}  // namespace

void print_quantised(const std::filesystem::path& file) {
  const Trained trained(file);
  std::printf("%-22s %11s %8s %12s %10s %12s %12s %12s\n", "experts'", "bits per", "whole", "RMS error", "largest",
              "held-out", "us a byte,", "us a byte,");
  std::printf("%-22s %11s %8s %12s %10s %12s %12s %12s\n", "weights", "weight", "MB", "of RMS", "of RMS", "bits/byte",
              "1024 at once", "alone");
  trained.print_line<float>("float");
  trained.print_line<moe::bfloat16>("bfloat16");
  trained.print_line<moe::half>("half");
  trained.print_line<moe::int8>("int8");
  trained.print_line<moe::int4>("int4");
  trained.print_line<moe::mxfp4>("mxfp4");
  trained.print_line<moe::int8, moe::int8>("int8 rows and weights");
  trained.print_line<moe::int4, moe::int8>("int8 rows, int4");
  trained.print_line<moe::mxfp4, moe::int8>("int8 rows, mxfp4");
}
