#include <moe/train/cosine_schedule.hpp>

#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <golden/qwen3_moe.hpp>

TEST_CASE("CosineSchedule is transformers'", "[train][cosine_schedule]") {
  const auto& golden = moe::golden::cosine;
  const moe::CosineSchedule schedule{.peak = 0.02, .warmup = golden.warmup_steps, .steps = golden.training_steps};
  for (int step = 0; step <= golden.training_steps; ++step) {
    CAPTURE(step);
    CHECK(std::abs(schedule(step) - 0.02 * golden.multipliers[step]) < 1e-14);
  }
}

TEST_CASE("CosineSchedule ends at its floor and stays there", "[train][cosine_schedule]") {
  const moe::CosineSchedule schedule{.peak = 2, .warmup = 10, .steps = 110, .floor = 0.1};
  CHECK(schedule(0) == 0);
  CHECK(schedule(5) == 1);
  CHECK(schedule(10) == 2);
  CHECK(std::abs(schedule(60) - 1.1) < 1e-14);
  CHECK(std::abs(schedule(110) - 0.2) < 1e-14);
  CHECK(schedule(1000) == schedule(110));
  for (int step = 11; step <= 110; ++step) CHECK(schedule(step) < schedule(step - 1));
}

TEST_CASE("CosineSchedule takes any numbers", "[train][cosine_schedule]") {
  CHECK(moe::CosineSchedule{.peak = 3, .warmup = 0, .steps = 4}(0) == 3);
  CHECK(moe::CosineSchedule{.peak = 3, .warmup = 0, .steps = 0}(0) == 3);
  CHECK(moe::CosineSchedule{.peak = 3, .warmup = 0, .steps = 0}(1) == 0);
  CHECK(moe::CosineSchedule{.peak = 3, .warmup = 5, .steps = 5}(4) == 3 * 4.0 / 5);
  CHECK(moe::CosineSchedule{.peak = 3, .warmup = 5, .steps = 2}(5) == 3);
  CHECK(moe::CosineSchedule{.peak = 3, .warmup = 5, .steps = 10}(-1) == 0);
}
