#pragma once

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>

/// "1.234" and the like, by printf's rules.
template <class... ArgumentsT>
std::string print(const char* format, ArgumentsT... arguments) {
  std::string text(std::snprintf(nullptr, 0, format, arguments...), '\0');
  std::snprintf(text.data(), text.size() + 1, format, arguments...);
  return text;
}

/// A line at the end of the terminal that is rewritten; elsewhere every text is a line of its own.
class Line {
 public:
  bool terminal() const { return terminal_; }
  /// Whether the last text has stood long enough to be read.
  bool due() const { return std::chrono::steady_clock::now() - shown_ >= std::chrono::milliseconds(100); }

  void show(std::string text) {
    shown_ = std::chrono::steady_clock::now();
    if (!terminal_) {
      std::printf("%s\n", text.c_str());
    } else {
      winsize window{};
      if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0)
        text.resize(std::min<std::size_t>(text.size(), window.ws_col - 1));
      std::printf("\r\x1b[K%s", text.c_str());
      open_ = true;
    }
    std::fflush(stdout);
  }

  /// Ends the line.
  ~Line() {
    if (open_) std::printf("\n");
    std::fflush(stdout);
  }

 private:
  bool terminal_ = isatty(STDOUT_FILENO);
  bool open_ = false;
  std::chrono::steady_clock::time_point shown_{};
};

/// "3:07"
inline std::string minutes(double seconds) { return print("%d:%02d", int(seconds) / 60, int(seconds) % 60); }

/// What the line says.
struct Status {
  int step = 0;
  double training = 0;
  double held_out = 0;
  double bytes_per_second = 0;
  double imbalance = 1;
  double seconds_left = 0;
};

/// How far the training of a model is; where there is no terminal, each tenth of the way.
class Progress {
 public:
  Progress(std::string name, int first_step, int steps)
      : name_(std::move(name)), steps_(steps), tenth_(first_step * 10 / steps) {}

  void show(const Status& s) {
    const int tenth = s.step * 10 / steps_;
    if (s.step < steps_ && (line_.terminal() ? !line_.due() : tenth == tenth_)) return;
    tenth_ = tenth;
    std::string text =
        print("%-8s", name_.c_str()) + print("  step %*d/%d", int(std::to_string(steps_).size()), s.step, steps_);
    if (s.held_out > 0) text += print("  bits/byte: training %.3f, held out %.3f", s.training, s.held_out);
    text += print("  %.0fk bytes/s  load max/mean %.2f", s.bytes_per_second / 1000, s.imbalance);
    if (s.step < steps_) text += "  " + minutes(s.seconds_left) + " left";
    line_.show(std::move(text));
  }

 private:
  std::string name_;
  int steps_;
  int tenth_;
  Line line_;
};
