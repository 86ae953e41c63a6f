#pragma once

#include "options.hpp"
#include "pairs.hpp"
#include "results.hpp"
#include "text.hpp"

#include <string>
#include <vector>

/// The table, on the terminal.
void print_table(const std::vector<Row>& rows);

/// report.html, with all that is known of the comparison.
void write_report(const std::filesystem::path& file, const Options& options, const Pairs& pairs,
                  const std::vector<Row>& rows, const Text& text, const std::string& command);
