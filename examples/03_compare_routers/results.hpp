#pragma once

#include "experiment.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

/// The outcomes of all runs so far, in a file that is whole after each of them.
class Results {
 public:
  Results(std::filesystem::path file, const Settings& settings, std::uint64_t text_digest)
      : file_(std::move(file)), settings_(settings), text_digest_(text_digest) {}

  const std::vector<Outcome>& outcomes() const { return outcomes_; }
  const std::filesystem::path& file() const { return file_; }

  /// Takes up what stands in the file; nothing where there is no file.
  /// \throws UsageError if the file is none of ours, or of other settings or another text.
  void resume();
  /// Keeps a file of an earlier comparison under another name.
  void set_aside() const;

  bool has(const std::string& router, const std::string& balancer, std::uint64_t seed) const;
  /// Notes the outcome and replaces the file.
  void add(const Outcome& outcome);

 private:
  std::filesystem::path file_;
  Settings settings_;
  std::uint64_t text_digest_;
  std::vector<Outcome> outcomes_;
};

/// A number over seeds.
struct Spread {
  double mean = 0;
  double deviation = 0;  ///< of the sample; 0 for one seed
};

/// A line of the table.
struct Row {
  std::string router;
  std::string balancer;
  std::vector<std::uint64_t> seeds;
  std::vector<double> each;  ///< bits per byte of each seed
  Spread bits_per_byte;
  Spread load_entropy;
  double imbalance = 0;
  double dropped = 0;
  double experts_per_token = 0;
  double seconds = 0;
  std::vector<Point> curve;  ///< the mean
};

/// One row for each pair, the best first.
std::vector<Row> table(const std::vector<Outcome>& outcomes);
