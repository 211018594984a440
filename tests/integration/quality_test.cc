// What a session says of its quality: split halves at its end, and warnings of what is unusual.

#include <string>
#include <vector>

#include "client/cpp/client.h"
#include "tests/integration/server_test.h"

namespace ptychoserve::integration {
namespace {

using testing::HasSubstr;

v1::SessionConfig WithHalves(int iterations) {
  v1::SessionConfig config = WideScan().Config(iterations);
  config.mutable_quality()->set_split_halves(true);
  return config;
}

class QualityTest : public ServerTest {};

TEST_F(QualityTest, SplitHalvesAreMeasuredBeforeTheSessionCompletes) {
  const std::string name = Create(WithHalves(15));
  EXPECT_TRUE(api().Get(name).value.config().quality().split_halves());
  const auto context = Context();
  v1::WatchSessionRequest watch;
  watch.set_name(name);
  const auto events = api().stub().WatchSession(context.get(), watch);
  v1::SessionEvent event;
  ASSERT_TRUE(events->Read(&event));
  SendAll(name, WideScan());

  bool measured = false;
  do {
    if (event.kind() == v1::SessionEvent::KIND_QUALITY) {
      EXPECT_FALSE(measured) << "told once";
      measured = true;
      EXPECT_TRUE(event.session().split_halves().has_ring_correlation());
    } else if (!measured) {
      EXPECT_NE(event.session().state(), v1::SESSION_STATE_COMPLETED);
    }
  } while (events->Read(&event));
  EXPECT_TRUE(measured);
  EXPECT_EQ(event.session().state(), v1::SESSION_STATE_COMPLETED);

  const v1::Session session = api().AwaitEnd(name).value;
  EXPECT_EQ(session.iteration(), 15);
  EXPECT_EQ(session.active_points(), WideScan().points());
  EXPECT_GT(session.final_fit().r_factor(), 0);
  const v1::SplitHalves& halves = session.split_halves();
  EXPECT_EQ(halves.iterations(), 30);
  EXPECT_EQ(halves.iterations_planned(), 30);
  const v1::RingCorrelation& rings = halves.ring_correlation();
  EXPECT_GE(rings.side_px(), 32u);
  EXPECT_EQ(rings.correlation_size(), static_cast<int>(rings.side_px() / 2));
  EXPECT_GT(rings.mean_to_half_nyquist(), 0.5);
  EXPECT_LE(rings.mean_to_half_nyquist(), 1);
  EXPECT_GT(rings.half_bit_of_nyquist(), 0);
  EXPECT_NEAR(rings.half_bit_resolution_m() * rings.half_bit_of_nyquist(), session.pixel_size_y_m(),
              1e-6 * session.pixel_size_y_m());
  const auto snapshot = api().Snapshot(name);
  ASSERT_THAT(snapshot.status, IsOk());
  EXPECT_TRUE(snapshot.value.header.final());
  EXPECT_EQ(snapshot.value.header.iteration(), 15);
}

TEST_F(QualityTest, HeldOutFramesAreMeasuredWithWhatTheOthersGive) {
  v1::SessionConfig config = WideScan().Config(15);
  config.mutable_quality()->set_held_out_every(10);
  const std::string name = Create(config);
  EXPECT_EQ(api().Get(name).value.config().quality().held_out_every(), 10u);
  SendAll(name, WideScan());
  const v1::Session session = api().AwaitEnd(name).value;
  EXPECT_EQ(session.active_points(), 90);
  EXPECT_EQ(session.held_out_points(), 10);
  EXPECT_FALSE(session.partial());
  const v1::Evaluation& evaluation = session.metrics().evaluation();
  EXPECT_EQ(evaluation.iteration(), 15);
  EXPECT_EQ(evaluation.fit().poisson_nll(), session.final_fit().poisson_nll());
  EXPECT_GT(evaluation.held_out().r_factor(), 0);
  EXPECT_GT(evaluation.held_out().poisson_nll(), evaluation.fit().poisson_nll());

  v1::SnapshotSelection all;
  all.add_arrays(v1::ARRAY_KIND_POINTS);
  all.add_arrays(v1::ARRAY_KIND_HISTORY);
  const auto client = client::Client::Connect(server().address());
  ASSERT_TRUE(client.ok()) << client.status();
  const auto snapshot = (*client)->GetSnapshot(name, all);
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  ASSERT_EQ(snapshot->points.size(), 90u);
  double mean = 0;
  for (const client::SnapshotPoint& point : snapshot->points) {
    EXPECT_NE(point.frame_id % 10, 9);
    EXPECT_GT(point.r_factor, 0);
    mean += point.poisson_nll / 90;
  }
  EXPECT_NEAR(mean / session.final_fit().poisson_nll(), 1, 0.1);
  EXPECT_EQ(snapshot->history.values.back(), evaluation.held_out().poisson_nll());
}

TEST_F(QualityTest, SessionsThatDoNotAskHaveNone) {
  const v1::Session session = RunScan(SmallScan(), 5);
  EXPECT_FALSE(session.has_split_halves());
}

TEST_F(QualityTest, AStopEndsSplitHalvesAndKeepsTheResult) {
  const std::string name = Create(WithHalves(400));
  SendAll(name, WideScan());
  const auto begun =
      api().Await(name, [](const v1::Session& s) { return s.split_halves().iterations() > 0; });
  ASSERT_EQ(begun.value.state(), v1::SESSION_STATE_REFINING);
  EXPECT_THAT(api().Stop(name).status, IsOk());
  const v1::Session session = api().AwaitEnd(name).value;
  EXPECT_EQ(session.state(), v1::SESSION_STATE_STOPPED);
  EXPECT_FALSE(session.split_halves().has_ring_correlation());
  EXPECT_GT(session.final_fit().r_factor(), 0);
  ASSERT_GT(session.warnings_size(), 0);
  EXPECT_THAT(session.warnings(session.warnings_size() - 1), HasSubstr("split halves"));
}

TEST_F(QualityTest, UnusualSettingsAreWarnedOfAndNotRefused) {
  v1::SessionConfig config = SmallScan().Config(5);
  const auto usual = api().Create(Id("usual"), config);
  ASSERT_THAT(usual.status, IsOk());
  EXPECT_EQ(usual.value.warnings_size(), 0);

  config.mutable_optics()->set_distance_m(2050);  // Millimetres.
  const auto planned = api().Create(Id(), config, /*validate_only=*/true);
  ASSERT_THAT(planned.status, IsOk());
  const auto created = api().Create(Id(), config);
  ASSERT_THAT(created.status, IsOk());
  for (const v1::Session& session : {planned.value, created.value, api().Get(Name()).value}) {
    ASSERT_GT(session.warnings_size(), 0);
    EXPECT_THAT(session.warnings(0),
                testing::AllOf(HasSubstr("optics.distance_m is 2050 m"), HasSubstr("usual are")));
  }
}

}  // namespace
}  // namespace ptychoserve::integration
