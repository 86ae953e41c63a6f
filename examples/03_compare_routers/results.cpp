#include "results.hpp"

#include "error.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <system_error>

namespace fs = std::filesystem;

namespace {

/// Seeds are of the runs, not of the settings.
nlohmann::json comparable(const Settings& settings) {
  nlohmann::json json = settings;
  json.at("training").erase("seed");
  return json;
}

template <class F>
Spread spread(const std::vector<const Outcome*>& outcomes, const F& number) {
  Spread s;
  for (const Outcome* o : outcomes) s.mean += number(*o) / double(outcomes.size());
  if (outcomes.size() < 2) return s;
  for (const Outcome* o : outcomes) s.deviation += (number(*o) - s.mean) * (number(*o) - s.mean);
  s.deviation = std::sqrt(s.deviation / double(outcomes.size() - 1));
  return s;
}

Row row(const std::vector<const Outcome*>& outcomes) {
  const auto of = [&](double Outcome::*number) {
    return spread(outcomes, [&](const Outcome& o) { return o.*number; });
  };
  Row row;
  row.router = outcomes.front()->router;
  row.balancer = outcomes.front()->balancer;
  for (const Outcome* o : outcomes) {
    row.seeds.push_back(o->seed);
    row.each.push_back(o->bits_per_byte);
  }
  row.bits_per_byte = of(&Outcome::bits_per_byte);
  row.load_entropy = of(&Outcome::load_entropy);
  row.imbalance = of(&Outcome::imbalance).mean;
  row.dropped = of(&Outcome::dropped).mean;
  row.experts_per_token = of(&Outcome::experts_per_token).mean;
  row.seconds = of(&Outcome::seconds).mean;
  for (std::size_t i = 0; i < outcomes.front()->curve.size(); ++i) {
    row.curve.push_back({outcomes.front()->curve[i].step,
                         spread(outcomes, [&](const Outcome& o) { return o.curve.at(i).training; }).mean,
                         spread(outcomes, [&](const Outcome& o) { return o.curve.at(i).held_out; }).mean});
  }
  return row;
}

}  // namespace

void Results::resume() {
  if (!fs::exists(file_)) return;
  std::ifstream stream(file_);
  const nlohmann::json json = nlohmann::json::parse(stream, nullptr, false);
  try {
    if (json.at("settings") != comparable(settings_) || json.at("text_digest") != text_digest_) {
      throw UsageError("the runs in " + file_.string() +
                       " have other settings or another text; leave out --resume, or write to another --out");
    }
    json.at("runs").get_to(outcomes_);
  } catch (const nlohmann::json::exception&) {
    throw UsageError(file_.string() + " is not a file of results");
  }
}

void Results::set_aside() const {
  std::error_code error;
  if (fs::exists(file_, error)) fs::rename(file_, fs::path(file_).replace_extension(".old.json"), error);
}

bool Results::has(const std::string& router, const std::string& balancer, std::uint64_t seed) const {
  return std::ranges::any_of(outcomes_, [&](const Outcome& o) { return o.is(router, balancer, seed); });
}

void Results::add(const Outcome& outcome) {
  outcomes_.push_back(outcome);
  const nlohmann::json json = {{"settings", comparable(settings_)}, {"text_digest", text_digest_}, {"runs", outcomes_}};
  const fs::path half = fs::path(file_).replace_extension(".tmp");
  std::ofstream stream(half, std::ios::binary);
  stream << json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  stream.close();
  std::error_code error;
  if (stream) fs::rename(half, file_, error);
  if (!stream || error) throw UsageError("cannot write " + file_.string());
}

std::vector<Row> table(const std::vector<Outcome>& outcomes) {
  std::vector<std::vector<const Outcome*>> pairs;
  for (const Outcome& o : outcomes) {
    const auto same = std::ranges::find_if(pairs, [&](const auto& pair) {
      return pair.front()->router == o.router && pair.front()->balancer == o.balancer;
    });
    if (same == pairs.end()) {
      pairs.push_back({&o});
    } else {
      same->push_back(&o);
    }
  }
  std::vector<Row> rows;
  for (const auto& pair : pairs) rows.push_back(row(pair));
  std::ranges::stable_sort(rows, [](const Row& a, const Row& b) {
    const double x = a.bits_per_byte.mean, y = b.bits_per_byte.mean;
    return std::isnan(y) ? !std::isnan(x) : x < y;  // what has diverged is last
  });
  return rows;
}
