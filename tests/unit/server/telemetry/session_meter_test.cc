#include "server/telemetry/session_meter.h"

#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <sstream>
#include <string>

#include "tests/unit/engine/test_config.h"

namespace ptychoserve::server {
namespace {

class SessionMeterTest : public testing::Test {
 protected:
  // What a line of /metrics says; -1: there is none.
  double Value(const std::string& name) const {
    std::istringstream text(prometheus::TextSerializer().Serialize(metrics_.registry()->Collect()));
    for (std::string line; std::getline(text, line);) {
      if (line.rfind(name + " ", 0) == 0) return std::stod(line.substr(name.size()));
    }
    return -1;
  }
  void Note() { meter_.Note(config_, progress_, metrics_); }

  const ReconstructionConfig config_ = Resolve(SmallConfig());
  Progress progress_;
  Metrics metrics_;
  SessionMeter meter_;
};

TEST_F(SessionMeterTest, AddsWhatIsNew) {
  progress_.frames.accepted = 5;
  progress_.frames.rejected[static_cast<int>(Reject::kDuplicate)] = 2;
  progress_.frames.rejected[static_cast<int>(Reject::kCorrupt)] = 1;
  progress_.iteration = 3;
  progress_.last = IterationRecord{.iteration = 3, .stage = 0, .seconds = 0.25};
  Note();
  Note();
  EXPECT_EQ(Value(R"(ptychoserve_ingest_frames_total{result="accepted"})"), 5);
  EXPECT_EQ(Value(R"(ptychoserve_ingest_frames_total{result="duplicate"})"), 2);
  EXPECT_EQ(Value(R"(ptychoserve_ingest_frames_total{result="rejected"})"), 1);
  EXPECT_EQ(Value(R"(ptychoserve_ingest_positions_total{result="accepted"})"), 0);
  progress_.frames.accepted = 9;
  progress_.iteration = 1;  // It has gone back.
  progress_.rollbacks = 1;
  Note();
  progress_.iteration = 3;
  Note();
  EXPECT_EQ(Value(R"(ptychoserve_ingest_frames_total{result="accepted"})"), 9);
  EXPECT_EQ(Value("ptychoserve_rollbacks_total"), 1);
}

TEST_F(SessionMeterTest, CountsIterationsByAlgorithm) {
  progress_.iteration = 4;
  const auto last = static_cast<int>(config_.schedule.size()) - 1;
  progress_.last = IterationRecord{.iteration = 4, .stage = last, .seconds = 0.25};
  Note();
  const char* name = std::holds_alternative<LsqMlConfig>(config_.schedule.back().algorithm)
                         ? R"(ptychoserve_iterations_total{algorithm="lsq_ml"})"
                         : R"(ptychoserve_iterations_total{algorithm="ml_gradient"})";
  EXPECT_EQ(Value(name), 4);
}

TEST_F(SessionMeterTest, WhatASessionBeginsWithIsNoNews) {
  progress_.frames.accepted = 5;
  progress_.iteration = 7;
  progress_.last = IterationRecord{.iteration = 7, .stage = 0, .seconds = 0.25};
  meter_.Begin(progress_);
  progress_.frames.accepted = 6;
  Note();
  EXPECT_EQ(Value(R"(ptychoserve_ingest_frames_total{result="accepted"})"), 1);
}

}  // namespace
}  // namespace ptychoserve::server
