#include "client/cli/schedule_flag.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ptychoserve::cli {
namespace {

using ::testing::HasSubstr;

TEST(ScheduleFlag, ReadsStagesThatCountIterationsAndTheirSum) {
  const auto schedule =
      ParseSchedule("dm:40,ml_grad:20,ml_gauss:5,epie:1,epie_seq:2,raar:3,ap:4,rpie:5,lsqml:6");
  ASSERT_TRUE(schedule.ok()) << schedule.status();
  ASSERT_EQ(schedule->stages.size(), 9);
  EXPECT_TRUE(schedule->stages[0].has_difference_map());
  EXPECT_EQ(schedule->stages[0].iterations(), 40);
  EXPECT_EQ(schedule->stages[1].ml_gradient().likelihood(), v1::LIKELIHOOD_POISSON);
  EXPECT_EQ(schedule->stages[1].iterations(), 20);
  EXPECT_EQ(schedule->stages[2].ml_gradient().likelihood(), v1::LIKELIHOOD_GAUSSIAN);
  EXPECT_TRUE(schedule->stages[3].has_epie());
  EXPECT_EQ(schedule->stages[3].epie().max_batch(), 0);
  EXPECT_EQ(schedule->stages[4].epie().max_batch(), 1);
  EXPECT_TRUE(schedule->stages[5].has_raar());
  EXPECT_TRUE(schedule->stages[6].has_alternating_projections());
  EXPECT_EQ(schedule->stages[7].epie().object_alpha(), 0.3);
  EXPECT_FALSE(schedule->stages[7].epie().has_probe_alpha());
  EXPECT_TRUE(schedule->stages[8].has_lsq_ml());
  EXPECT_EQ(schedule->total_iterations, 86);
}

TEST(ScheduleFlag, ReadsWhatAStageRefines) {
  const auto schedule = ParseSchedule("dm:20,ml_gauss+pos+int:66%,epie+bg+var");
  ASSERT_TRUE(schedule.ok()) << schedule.status();
  EXPECT_FALSE(schedule->stages[0].has_refine());
  EXPECT_TRUE(schedule->stages[1].refine().positions());
  EXPECT_TRUE(schedule->stages[1].refine().intensities());
  EXPECT_FALSE(schedule->stages[1].refine().background());
  EXPECT_FALSE(schedule->stages[1].refine().variation());
  EXPECT_DOUBLE_EQ(schedule->stages[1].fraction(), 0.66);
  EXPECT_TRUE(schedule->stages[2].refine().background());
  EXPECT_TRUE(schedule->stages[2].refine().variation());
  EXPECT_TRUE(schedule->stages[2].has_epie());

  const auto refine = ParseRefine("bg,pos");
  ASSERT_TRUE(refine.ok()) << refine.status();
  EXPECT_TRUE(refine->positions());
  EXPECT_FALSE(refine->intensities());
  EXPECT_TRUE(refine->background());
  EXPECT_THAT(std::string(ParseRefine("pos,").status().message()),
              HasSubstr("\"\"; allowed, separated by commas: pos"));
}

TEST(ScheduleFlag, ReadsFractionsAndPlateausWithoutASum) {
  const auto schedule = ParseSchedule("dm:66.5%,epie:plateau,ml_grad");
  ASSERT_TRUE(schedule.ok()) << schedule.status();
  EXPECT_DOUBLE_EQ(schedule->stages[0].fraction(), 0.665);
  EXPECT_TRUE(schedule->stages[1].has_plateau());
  EXPECT_EQ(schedule->stages[2].until_case(), v1::Stage::UNTIL_NOT_SET);
  EXPECT_FALSE(schedule->total_iterations.has_value());
}

struct BadSchedule {
  const char* text;
  const char* complaint;
};
class BadScheduleFlag : public ::testing::TestWithParam<BadSchedule> {};

TEST_P(BadScheduleFlag, IsRefusedWithTheStageAndWhatIsAllowed) {
  const auto schedule = ParseSchedule(GetParam().text);
  ASSERT_EQ(schedule.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(schedule.status().message()), HasSubstr(GetParam().complaint));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadScheduleFlag,
    ::testing::Values(
        BadSchedule{"", "dm, raar, ap, ml_grad, ml_gauss, epie, epie_seq, rpie or lsqml"},
        BadSchedule{"hio:10", "stage \"hio:10\""},
        BadSchedule{"dm+probe:3", "what is refined is pos"},
        BadSchedule{"dm+:3", "what is refined is pos"}, BadSchedule{"dm:0", "iterations >= 1"},
        BadSchedule{"dm:-3", "stage \"dm:-3\""}, BadSchedule{"dm:100%", "like 66%"},
        BadSchedule{"dm:", "stage \"dm:\""}, BadSchedule{"dm,ml_grad:5", "only the last stage"},
        BadSchedule{"dm:40,", "stage \"\""}));

}  // namespace
}  // namespace ptychoserve::cli
