#include "engine/scan/orientation_class.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "engine/scan/orientation.h"

namespace ptychoserve {
namespace {

TEST(OrientationClasses, HoldEachOrientationOnce) {
  for (const Orientation declared : kAllOrientations) {
    std::set<Orientation> all;
    for (const OrientationClass& c : OrientationClasses(declared)) {
      all.insert({c.orientation, c.twin});
      EXPECT_EQ(Compose(c.orientation, Orientation::kRot180), c.twin);
    }
    EXPECT_EQ(all.size(), 8u);
    EXPECT_EQ(OrientationClasses(declared)[0].orientation, declared);
    EXPECT_EQ(OrientationClasses(declared)[0].instead, "");
  }
}

TEST(OrientationClasses, EightWaysToChangeThePositionsAreAllDifferent) {
  std::set<std::string> ways;
  for (const OrientationClass& c : OrientationClasses(Orientation::kFlipUd)) {
    ways.insert({std::string(c.instead), std::string(c.twin_instead)});
  }
  EXPECT_EQ(ways.size(), 8u);
}

}  // namespace
}  // namespace ptychoserve
