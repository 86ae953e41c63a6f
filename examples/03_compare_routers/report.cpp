#include "report.hpp"

#include "default_text.hpp"
#include "page.hpp"
#include "progress.hpp"
#include "report_html.hpp"  // report.html as a string, made by CMake

#include <moe/version.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <string>

namespace {

std::string machine() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

std::string now() {
  const std::time_t time = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", std::gmtime(&time));
  return text;
}

nlohmann::json json_of(const Row& row) {
  nlohmann::json curve = nlohmann::json::array();
  for (const Point& point : row.curve) curve.push_back({point.step, point.training, point.held_out});
  return {{"router", row.router},
          {"balancer", row.balancer},
          {"seeds", row.seeds},
          {"each", row.each},
          {"bits", row.bits_per_byte.mean},
          {"bits_deviation", row.bits_per_byte.deviation},
          {"entropy", row.load_entropy.mean},
          {"entropy_deviation", row.load_entropy.deviation},
          {"imbalance", row.imbalance},
          {"dropped", row.dropped},
          {"experts", row.experts_per_token},
          {"seconds", row.seconds},
          {"curve", curve}};
}

nlohmann::json configuration(const Options& options, const Text& text, const std::string& command) {
  const Settings& s = options.settings;
  const TrainingSettings& t = s.training;
  const ModelShape& shape = s.shape;
  const Exec exec;
  return nlohmann::json::array({
      {"command", command},
      {"text",
       print("%s: %zu bytes of %d files, of which every tenth block of 4 kB is held out",
             s.text.empty() ? default_text : nlohmann::json(s.text).dump().c_str(), text.bytes.size(), text.num_files)},
      {"model", print("16 embeddings of %d side by side, projected to %d; twice x + mixture(norm(x)); norm; 256 logits",
                      shape.embedding, shape.hidden)},
      {"mixture", print("%d experts (SwiGLU, %d wide), %d for each byte; all-experts: %d, each %d wide", shape.experts,
                        shape.intermediate, shape.top_k, shape.experts,
                        std::max(1, shape.intermediate * shape.top_k / shape.experts))},
      {"dispatcher", s.capacity > 0 ? print("capacity %g of an even share, dropped by position", s.capacity)
                                    : std::string("dropless")},
      {"training", print("%d steps of %d bytes in %d micro-batches, AdamW, rate %g after a warm-up of %d steps, then a "
                         "cosine; weight decay %g, gradients clipped at %g",
                         t.steps, t.batch, t.micro_batches, t.learning_rate, t.steps / 20, t.weight_decay, t.max_norm)},
      {"seeds", print("1 to %d: of weights, order of the text and noise; the same for all", options.seeds)},
      {"ran on", print("%s, %d threads (Kokkos' %s)", machine().c_str(), exec.concurrency(), exec.name())},
      {"finished", now()},
      {"moe", moe::version},
  });
}

}  // namespace

void print_table(const std::vector<Row>& rows) {
  std::printf("\n%-16s %-16s %22s %13s %14s %8s %14s %8s\n", "router", "balancer", "held-out bits/byte", "load entropy",
              "max/mean load", "dropped", "experts/token", "time");
  for (const Row& r : rows) {
    const std::string bits = !std::isfinite(r.bits_per_byte.mean) ? "diverged"
                             : r.each.size() > 1
                                 ? print("%.4f +- %.4f", r.bits_per_byte.mean, r.bits_per_byte.deviation)
                                 : print("%.4f", r.bits_per_byte.mean);
    std::printf("%-16s %-16s %22s %13.4f %14.2f %6.2f %% %14.2f %6.1f s\n", r.router.c_str(), r.balancer.c_str(),
                bits.c_str(), r.load_entropy.mean, r.imbalance, 100 * r.dropped, r.experts_per_token, r.seconds);
  }
}

void write_report(const std::filesystem::path& file, const Options& options, const Pairs& pairs,
                  const std::vector<Row>& rows, const Text& text, const std::string& command) {
  nlohmann::json data = {{"rows", nlohmann::json::array()},
                         {"routers", nlohmann::json::array()},
                         {"balancers", nlohmann::json::array()},
                         {"left_out", nlohmann::json::array()},
                         {"seeds", options.seeds},
                         {"pairs", pairs.tried.size()},
                         {"top_k", options.settings.shape.top_k},
                         {"steps", options.settings.training.steps},
                         {"capacity", options.settings.capacity},
                         {"configuration", configuration(options, text, command)}};
  for (const Row& row : rows) data["rows"].push_back(json_of(row));
  for (const RouterChoice& r : all_routers()) {
    data["routers"].push_back(
        {{"name", r.name}, {"what", r.what}, {"caveat", r.caveat}, {"is_comparable", r.is_comparable}});
  }
  for (const BalancerChoice& b : all_balancers()) data["balancers"].push_back({{"name", b.name}, {"what", b.what}});
  for (const LeftOut& l : pairs.left_out) {
    data["left_out"].push_back({{"router", l.router}, {"balancers", l.balancers}, {"reason", l.reason}});
  }
  page::write(file, report_html, data);
}
