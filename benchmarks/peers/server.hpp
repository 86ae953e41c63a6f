#pragma once

#include <nlohmann/json.hpp>

#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>

/// A program that the driver (compare.py) asks: a JSON object a line on stdin, its answer a line on stdout. Between two
/// questions the driver stops the process, so that no thread of it spins while another one is measured.
namespace peers {

using Json = nlohmann::json;

/// What a library does not offer: the table says why, and goes on.
struct Cannot : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Answers until stdin ends.
template <class F>
int serve(const F& answer) {
  for (std::string line; std::getline(std::cin, line);) {
    Json reply;
    try {
      reply = answer(Json::parse(line));
    } catch (const Cannot& reason) {
      reply = {{"cannot", reason.what()}};
    } catch (const std::exception& error) {
      reply = {{"error", error.what()}};
    }
    std::cout << reply << std::endl;
  }
  return 0;
}

}  // namespace peers
