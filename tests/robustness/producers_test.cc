// Two writers that call themselves by the same name.

#include <thread>

#include "client/cpp/error_details.h"
#include "tests/robustness/robustness_test.h"
#include "tests/robustness/streamed_scan.h"

namespace ptychoserve::robustness {
namespace {

using integration::IsOk;
using integration::SmallScan;
using integration::TestScan;

class ProducersTest : public RobustnessTest {
 protected:
  static client::WriterOptions Options() {
    client::WriterOptions options;
    options.producer = "detector";
    options.linger = std::chrono::milliseconds(1);
    return options;
  }
  static bool IsFenced(const absl::Status& status) {
    return absl::IsAborted(status) && client::GetErrorDetails(status).reason == "PRODUCER_FENCED";
  }
};

TEST_F(ProducersTest, TheLaterOneTakesOverAndTheFirstIsTold) {
  const TestScan& scan = SmallScan();
  const std::string name = Create(scan.Config(5));
  StreamedScan first(server().address(), name, scan, Options());
  first.Send(0, 20);
  ASSERT_TRUE(first.frames().Flush(integration::kCallDeadline).ok());
  ASSERT_TRUE(first.positions().Flush(integration::kCallDeadline).ok());
  StreamedScan second(server().address(), name, scan, Options());
  second.positions();
  EXPECT_TRUE(Eventually([&] { return IsFenced(first.frames().status()); }));
  EXPECT_TRUE(Eventually([&] { return IsFenced(first.positions().status()); }));
  // What the first one says from now on is not heard: another frame's pixels under an id.
  EXPECT_TRUE(IsFenced(first.frames().Push(30, std::as_bytes(std::span(scan.frame(7))))));
  second.Send(0, scan.points());
  const client::WriterReport report = second.Close();
  EXPECT_EQ(report.known_items, 20);
  EXPECT_EQ(report.sent_items, scan.points() - 20);
  const v1::Session session = api().AwaitEnd(name).value;
  ExpectEachPointOnce(session, scan);
  EXPECT_EQ(session.frames().received(), scan.points());
}

TEST_F(ProducersTest, OfManyAtOnceOneIsLeftAndNothingIsMixedUp) {
  const TestScan& scan = SmallScan();
  const std::string name = Create(scan.Config(5));
  constexpr int kWriters = 6;
  std::atomic<int> fenced = 0, done = 0;
  std::vector<std::thread> writers;
  for (int k = 0; k < kWriters; ++k) {
    writers.emplace_back([&] {
      StreamedScan stream(server().address(), name, scan, Options());
      absl::Status status;
      for (int j = 0; j < scan.points() && status.ok(); ++j) {
        status = stream.frames().Push(j, std::as_bytes(std::span(scan.frame(j))),
                                      integration::kCallDeadline);
      }
      if (status.ok()) status = stream.frames().Close(integration::kCallDeadline).status();
      // By the time of a writer that ends at its leisure, the last one may not have come yet.
      ++(status.ok() ? done : fenced);
      EXPECT_TRUE(status.ok() || IsFenced(status)) << status;
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_GE(done, 1);
  EXPECT_EQ(done + fenced, kWriters);
  const v1::Session before = api().Get(name).value;
  EXPECT_EQ(before.frames().accepted(), scan.points());
  {
    StreamedScan stream(server().address(), name, scan, Options());
    stream.Send(0, scan.points());
    EXPECT_EQ(stream.Close().known_items, scan.points());
  }
  ExpectEachPointOnce(api().AwaitEnd(name).value, scan);
  EXPECT_EQ(api().Get(name).value.final_fit().r_factor(),
            RunScan(scan, 5, "alone").final_fit().r_factor());
}

}  // namespace
}  // namespace ptychoserve::robustness
