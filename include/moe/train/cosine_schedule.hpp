#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace moe {

/// The learning rate at a step: a line from 0 to the peak over the warm-up, then half a cosine down to `floor * peak`:
///
///     step < warmup:   peak * step / warmup
///     else             peak * (floor + (1 - floor) * (1 + cos(pi * (step - warmup) / (steps - warmup))) / 2)
///
/// As transformers' get_cosine_schedule_with_warmup, with a floor as its ..._with_min_lr_schedule_with_warmup; there the
/// warm-up begins at the floor, here at 0, and after the last step the rate stays at the floor instead of rising again.
/// Steps count from 0, and the rate of step 0 of a warm-up is 0: ask for step n + 1 to begin with a step that moves.
struct CosineSchedule {
  double peak = 3e-4;
  std::int64_t warmup = 0;
  std::int64_t steps = 1000;  ///< all of them, the warm-up's included
  double floor = 0;           ///< as a fraction of the peak

  double operator()(std::int64_t step) const {
    if (step < warmup) return peak * double(std::max<std::int64_t>(step, 0)) / double(warmup);
    const double length = double(std::max<std::int64_t>(1, steps - warmup));
    const double progress = std::min(1.0, double(step - warmup) / length);
    return peak * (floor + (1 - floor) * 0.5 * (1 + std::cos(std::numbers::pi * progress)));
  }
};

}  // namespace moe
