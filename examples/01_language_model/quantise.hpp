#pragma once

#include <filesystem>

/// Reads a trained model into models whose experts' matrices are of other types, straight from the file, and prints for
/// each what it takes and what it loses.
/// \throws UsageError if the file is not a model of this program's, or if its text has changed since.
void print_quantised(const std::filesystem::path& file);
