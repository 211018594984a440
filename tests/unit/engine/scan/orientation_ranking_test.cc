#include "engine/scan/orientation_ranking.h"

#include <gtest/gtest.h>

#include <limits>

namespace ptychoserve {
namespace {

OrientationTrial Trial(Orientation orientation, Orientation twin, double r_factor) {
  OrientationTrial trial;
  trial.orientation = orientation;
  trial.twin = twin;
  trial.r_factor = r_factor;
  return trial;
}

// Each orientation has a trial: identity is the best, its twin a little worse.
OrientationRanking WithProbe() {
  OrientationRanking ranking;
  ranking.trials = {Trial(Orientation::kIdentity, Orientation::kRot180, 0.10),
                    Trial(Orientation::kRot180, Orientation::kIdentity, 0.11),
                    Trial(Orientation::kFlipLr, Orientation::kFlipUd, 0.20),
                    Trial(Orientation::kFlipUd, Orientation::kFlipLr, 0.21)};
  return ranking;
}

TEST(OrientationRanking, MarginIsToTheBestThatIsNoTwin) {
  EXPECT_NEAR(WithProbe().margin(), 1.0, 1e-12);
}

TEST(OrientationRanking, WithoutAResultThereIsNoMargin) {
  OrientationRanking ranking = WithProbe();
  for (OrientationTrial& t : ranking.trials) t.r_factor = std::numeric_limits<double>::infinity();
  EXPECT_EQ(ranking.margin(), 0);
}

TEST(OrientationRanking, NoTwinsMeansThatAnyOtherCounts) {
  OrientationRanking ranking = WithProbe();
  for (OrientationTrial& trial : ranking.trials) trial.twin.reset();
  EXPECT_NEAR(ranking.margin(), 0.1, 1e-12);
}

TEST(OrientationRanking, TheTwinOfTheBestIsAsGoodWhenItFitsAsWell) {
  OrientationRanking ranking = WithProbe();
  ranking.declared = Orientation::kRot180;
  EXPECT_EQ(ranking.own().r_factor, 0.11);
  EXPECT_TRUE(ranking.declared_is_best(0.101));
  EXPECT_FALSE(ranking.declared_is_best(0.099));
}

TEST(OrientationRanking, AnotherClassIsNeverAsGood) {
  OrientationRanking ranking = WithProbe();
  ranking.declared = Orientation::kFlipUd;
  EXPECT_EQ(ranking.own().r_factor, 0.21);
  EXPECT_FALSE(ranking.declared_is_best(10));
}

TEST(OrientationRanking, OneTrialOfAClassSpeaksForItsTwin) {
  OrientationRanking ranking;
  ranking.trials = {Trial(Orientation::kRot180, Orientation::kIdentity, 0.1),
                    Trial(Orientation::kFlipLr, Orientation::kFlipUd, 0.2)};
  EXPECT_EQ(ranking.own().orientation, Orientation::kRot180);
  EXPECT_TRUE(ranking.declared_is_best(0));
}

}  // namespace
}  // namespace ptychoserve
