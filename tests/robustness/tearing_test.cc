// Snapshots are whole: whoever asks for a version, while others come, gets the same one.

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/mutex.h"
#include "tests/robustness/robustness_test.h"

namespace ptychoserve::robustness {
namespace {

using integration::Api;
using integration::Bytes;
using integration::IsOk;
using integration::SmallScan;
using integration::TestScan;

using TearingTest = RobustnessTest;

TEST_F(TearingTest, EveryReaderGetsTheSameVersionWhileFramesComeAndTheCanvasGrows) {
  const TestScan& scan = SmallScan();
  constexpr int kReaders = 4;
  const std::string name = Create(scan.StreamingConfig(1));
  Mutex mu;
  std::map<std::int64_t, std::size_t> versions;  // Each with a hash of all that it holds.
  std::int64_t compared = 0;
  std::atomic<bool> stop = false;
  std::vector<std::thread> readers;
  for (int k = 0; k < kReaders; ++k) {
    readers.emplace_back([&] {
      Api own(server().address());
      v1::GetSnapshotRequest request;
      request.set_name(name);
      request.set_wait_ms(1'000);
      request.mutable_selection()->set_area(v1::OBJECT_AREA_CANVAS);
      for (const auto kind :
           {v1::ARRAY_KIND_OBJECT, v1::ARRAY_KIND_PROBE, v1::ARRAY_KIND_COVERAGE}) {
        request.mutable_selection()->add_arrays(kind);
      }
      while (!stop) {
        const auto answer = own.Snapshot(request);
        ASSERT_THAT(answer.status, IsOk());
        const client::Snapshot& got = answer.value;
        if (got.header.unchanged()) continue;
        ASSERT_GT(got.header.version(), request.not_newer_than());
        request.set_not_newer_than(got.header.version());
        EXPECT_EQ(got.object.shape, got.coverage.shape);
        EXPECT_EQ(got.header.metrics().iteration(), got.header.iteration());
        const std::size_t whole = std::hash<std::string>()(
            absl::StrCat(got.header.iteration(), ":", Bytes(got.object.values),
                         Bytes(got.probe.values), Bytes(got.coverage.values)));
        MutexLock lock(mu);
        const auto [entry, first] = versions.try_emplace(got.header.version(), whole);
        if (!first) ++compared;
        EXPECT_EQ(entry->second, whole) << "version " << got.header.version();
      }
    });
  }
  {
    integration::PositionInput positions(api(), name);
    integration::FrameInput frames(api(), name);
    for (int j = 0; j < scan.points(); ++j) {
      positions.Send(scan.Positions(j, 1));
      frames.Send(scan.Frames(j, 1));
      const std::int64_t iteration = api().Get(name).value.iteration();
      if (j < 10) continue;  // Nothing iterates on so few.
      api().Await(name, [&](const auto& s) { return s.iteration() > iteration; });
    }
    EXPECT_THAT(positions.Finish(), IsOk());
    EXPECT_THAT(frames.Finish(), IsOk());
  }
  EXPECT_TRUE(Eventually([&] {
    MutexLock lock(mu);
    return compared >= 50;
  }));
  stop = true;
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace ptychoserve::robustness
