#pragma once

#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <string>

/// "1.234" and the like, by printf's rules.
template <class... ArgumentsT>
std::string print(const char* format, ArgumentsT... arguments) {
  std::string text(std::snprintf(nullptr, 0, format, arguments...), '\0');
  std::snprintf(text.data(), text.size() + 1, format, arguments...);
  return text;
}

/// What the line says.
struct Status {
  int step = 0;
  double training = 0;
  double held_out = 0;
  double bytes_per_second = 0;
  double imbalance = 1;
  double seconds_left = 0;
};

/// One line that is rewritten on a terminal; elsewhere a line for each tenth of the way.
class Progress {
 public:
  Progress(std::string name, int first_step, int steps)
      : name_(std::move(name)), steps_(steps), tenth_(first_step * 10 / steps), terminal_(isatty(STDOUT_FILENO)) {}

  void show(const Status& s) {
    const auto now = std::chrono::steady_clock::now();
    const int tenth = s.step * 10 / steps_;
    if (s.step < steps_ && (terminal_ ? now - shown_ < std::chrono::milliseconds(100) : tenth == tenth_)) return;
    shown_ = now;
    tenth_ = tenth;
    std::string line =
        print("%-8s", name_.c_str()) + print("  step %*d/%d", int(std::to_string(steps_).size()), s.step, steps_);
    if (s.held_out > 0) line += print("  bits/byte: training %.3f, held out %.3f", s.training, s.held_out);
    line += print("  %.0fk bytes/s  load max/mean %.2f", s.bytes_per_second / 1000, s.imbalance);
    if (s.step < steps_) line += print("  %d:%02d left", int(s.seconds_left) / 60, int(s.seconds_left) % 60);
    if (!terminal_) {
      std::printf("%s\n", line.c_str());
    } else {
      winsize window{};
      if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0)
        line.resize(std::min<std::size_t>(line.size(), window.ws_col - 1));
      std::printf("\r\x1b[K%s", line.c_str());
      open_ = true;
    }
    std::fflush(stdout);
  }

  /// Ends the line.
  ~Progress() {
    if (open_) std::printf("\n");
    std::fflush(stdout);
  }

 private:
  std::string name_;
  int steps_;
  int tenth_;
  bool terminal_;
  bool open_ = false;
  std::chrono::steady_clock::time_point shown_{};
};
