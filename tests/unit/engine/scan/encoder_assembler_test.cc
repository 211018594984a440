#include "engine/scan/encoder_assembler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numbers>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

EncoderConfig Config(int samples_per_frame) {
  EncoderConfig config;
  config.samples_per_frame = samples_per_frame;
  config.y_scale_m_per_count = -1.0309e-10;
  config.x_scale_m_per_count = -9.542e-11;
  config.y_offset_m = 3e-6;
  config.x_offset_m = -2e-6;
  return config;
}

// Counts that differ from sample to sample and are not linear, so that a sample in the wrong frame
// shows.
double XCount(std::int64_t sample) { return 1e4 * std::sin(0.37 * static_cast<double>(sample)); }
double YCount(std::int64_t sample) { return 7e3 * std::cos(0.11 * static_cast<double>(sample)); }

struct Block {
  std::int64_t first = 0;
  std::vector<double> x, y;
  Block(std::int64_t first_sample, std::int64_t count) : first(first_sample) {
    for (std::int64_t s = first; s < first + count; ++s) {
      x.push_back(XCount(s));
      y.push_back(YCount(s));
    }
  }
  EncoderBatch batch() const { return {first, x, y}; }
};

using Positions = std::map<std::int64_t, std::pair<double, double>>;  // Id -> (y, x).

void AddTo(EncoderAssembler* assembler, const Block& block, Positions* positions) {
  for (const auto& p : assembler->Add(block.batch()).complete) {
    EXPECT_TRUE(positions->emplace(p.frame_id, std::pair(p.y_m, p.x_m)).second)
        << "frame " << p.frame_id << " twice";
  }
}

class MeanOfSamplesTest : public testing::TestWithParam<int> {};

TEST_P(MeanOfSamplesTest, TimesScalePlusOffset) {
  const int n = GetParam();
  const EncoderConfig config = Config(n);
  constexpr std::int64_t kFirstId = 100;
  EncoderAssembler assembler(config, kFirstId);
  Positions positions;
  AddTo(&assembler, Block(0, 7 * n), &positions);
  ASSERT_EQ(positions.size(), 7u);
  for (int k = 0; k < 7; ++k) {
    double x = 0, y = 0;
    for (int s = k * n; s < (k + 1) * n; ++s) {
      x += XCount(s) / n;
      y += YCount(s) / n;
    }
    const auto [y_m, x_m] = positions.at(kFirstId + k);
    EXPECT_NEAR(x_m, x * config.x_scale_m_per_count + config.x_offset_m, 1e-18);
    EXPECT_NEAR(y_m, y * config.y_scale_m_per_count + config.y_offset_m, 1e-18);
  }
}
INSTANTIATE_TEST_SUITE_P(SamplesPerFrame, MeanOfSamplesTest, testing::Values(1, 10));

TEST(EncoderAssemblerTest, TomographyAngleScalesTheFastAxisOnly) {
  struct Case {
    double angle, factor;
  };
  constexpr double kPi = std::numbers::pi;
  for (const Case c : {Case{0, 1}, Case{30, std::sqrt(3.0) / 2}, Case{45, std::sqrt(0.5)},
                       Case{-45, std::sqrt(0.5)}, Case{45.1, std::sin(45.1 * kPi / 180)},
                       Case{90, 1}, Case{-120, std::sqrt(3.0) / 2}}) {
    EncoderConfig config = Config(1);
    config.rotation_angle_deg = c.angle;
    EncoderAssembler assembler(config, 0);
    Positions positions;
    AddTo(&assembler, Block(3, 1), &positions);
    const auto [y_m, x_m] = positions.at(3);
    EXPECT_NEAR(x_m, XCount(3) * config.x_scale_m_per_count * c.factor + config.x_offset_m, 1e-18)
        << c.angle;
    EXPECT_NEAR(y_m, YCount(3) * config.y_scale_m_per_count + config.y_offset_m, 1e-18) << c.angle;
  }
}

TEST(EncoderAssemblerTest, OrderAndRepetitionOfBlocksDoNotMatter) {
  constexpr int kSamples = 400;
  EncoderAssembler in_order(Config(10), 0);
  Positions expected;
  AddTo(&in_order, Block(0, kSamples), &expected);

  std::vector<Block> blocks;
  constexpr int kBlock = 41;  // Not a multiple of the samples of a frame.
  for (int s = 0; s < kSamples; s += kBlock) blocks.emplace_back(s, std::min(kBlock, kSamples - s));
  for (int s = 20; s < kSamples - kBlock; s += 97) blocks.emplace_back(s, kBlock);  // Once more.
  std::mt19937 random(7);
  for (int round = 0; round < 10; ++round) {
    std::shuffle(blocks.begin(), blocks.end(), random);
    EncoderAssembler assembler(Config(10), 0);
    Positions positions;
    for (const Block& block : blocks) AddTo(&assembler, block, &positions);
    EXPECT_EQ(positions, expected);  // Bit for bit.
    EXPECT_EQ(assembler.incomplete_frames(), 0);
  }
}

TEST(EncoderAssemblerTest, MissingBlockLeavesOnlyItsFramesWithoutPosition) {
  EncoderAssembler complete(Config(10), 0);
  Positions expected;
  AddTo(&complete, Block(0, 400), &expected);

  EncoderAssembler assembler(Config(10), 0);
  Positions positions;
  AddTo(&assembler, Block(0, 95), &positions);
  AddTo(&assembler, Block(125, 275), &positions);
  for (std::int64_t id = 9; id <= 12; ++id) {
    EXPECT_FALSE(positions.contains(id));
    expected.erase(id);
  }
  EXPECT_EQ(positions, expected);
  EXPECT_EQ(assembler.incomplete_frames(), 2);  // Of frames 9 and 12 something came.

  AddTo(&assembler, Block(95, 30), &positions);  // Late, but there.
  EXPECT_EQ(positions.size(), 40u);
  EXPECT_EQ(assembler.incomplete_frames(), 0);
}

TEST(EncoderAssemblerTest, RepeatedSamplesAreCounted) {
  EncoderAssembler assembler(Config(10), 0);
  EXPECT_EQ(assembler.Add(Block(0, 15).batch()).duplicate_samples, 0);
  EXPECT_EQ(assembler.Add(Block(5, 12).batch()).duplicate_samples, 10);
}

TEST(EncoderAssemblerTest, NonFiniteSampleLeavesItsFrameIncomplete) {
  EncoderAssembler assembler(Config(10), 50);
  Block block(0, 30);
  block.y[17] = std::numeric_limits<double>::quiet_NaN();
  block.x[18] = std::numeric_limits<double>::infinity();
  const auto added = assembler.Add(block.batch());
  EXPECT_EQ(added.non_finite_samples, 2);
  EXPECT_EQ(added.first_bad_frame, 51);
  EXPECT_EQ(added.complete.size(), 2u);
  EXPECT_EQ(assembler.incomplete_frames(), 1);
  // A second, good reading completes it.
  EXPECT_EQ(assembler.Add(Block(17, 2).batch()).complete.size(), 1u);
}

TEST(EncoderAssemblerTest, SamplesThatBelongToNoFrameAreRefused) {
  EncoderAssembler assembler(Config(2), 0);
  EXPECT_EQ(assembler.Add(Block(-3, 5).batch()).refused_samples, 3);

  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  const std::vector<double> counts(4, 1.0);
  EncoderAssembler late(Config(1), kMax - 100);
  EXPECT_EQ(late.Add({99, counts, counts}).refused_samples, 2);
  EXPECT_EQ(late.Add({kMax - 1, counts, counts}).refused_samples, 4);
  EXPECT_EQ(late.FrameOf(99), kMax - 1);
  EXPECT_EQ(late.FrameOf(kMax), kMax);
}

TEST(EncoderAssemblerTest, IncompleteFramesAreLimited) {
  EncoderAssembler assembler(Config(2), 0, 3);
  for (int frame = 0; frame < 5; ++frame) {
    EXPECT_EQ(assembler.Add(Block(2 * frame, 1).batch()).refused_samples, frame < 3 ? 0 : 1);
  }
  EXPECT_EQ(assembler.incomplete_frames(), 3);
  // Their other halves still complete the three, which makes room.
  EXPECT_EQ(assembler.Add(Block(1, 1).batch()).complete.size(), 1u);
  EXPECT_EQ(assembler.Add(Block(6, 2).batch()).complete.size(), 1u);
}

}  // namespace
}  // namespace ptychoserve
