// Readers of snapshots that do not read, or are not there any more, cost the server nothing.

#include <memory>
#include <vector>

#include "client/cpp/internal/snapshot_assembler.h"
#include "tests/robustness/robustness_test.h"
#include "tests/robustness/tcp_relay.h"

namespace ptychoserve::robustness {
namespace {

using integration::Api;
using integration::IsOk;

using WatchersTest = RobustnessTest;

// One watcher of whole canvases, on a connection of its own.
class Watcher {
 public:
  Watcher(const std::string& address, const std::string& session)
      : api_(address), context_(integration::Context()) {
    v1::WatchSnapshotsRequest request;
    request.set_name(session);
    request.mutable_selection()->set_area(v1::OBJECT_AREA_CANVAS);
    reader_ = api_.stub().WatchSnapshots(context_.get(), request);
  }
  ~Watcher() {
    context_->TryCancel();
    v1::SnapshotChunk chunk;
    while (reader_->Read(&chunk)) {
    }
    reader_->Finish();
  }
  // Whether another snapshot has come; its version.
  std::optional<std::int64_t> Next() {
    client::internal::SnapshotAssembler assembler;
    v1::SnapshotChunk chunk;
    while (reader_->Read(&chunk)) {
      EXPECT_TRUE(assembler.Add(chunk).ok());
      if (const auto snapshot = assembler.Take()) return snapshot->header.version();
    }
    return std::nullopt;
  }

 private:
  Api api_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReader<v1::SnapshotChunk>> reader_;
};

TEST_F(WatchersTest, ThoseThatNeverReadAndTheDeadTakeNoMemory) {
  constexpr int kIdle = 6, kDead = 2;
  constexpr std::int64_t kVersions = 300;
  const std::string name = StartEndlessSession();
  const auto await_versions = [&](std::int64_t more) {
    const std::int64_t from = api().Get(name).value.snapshot_version();
    return api()
        .Await(name, [&](const auto& s) { return s.snapshot_version() >= from + more; })
        .value;
  };
  std::vector<std::unique_ptr<Watcher>> watchers;
  for (int k = 0; k < kIdle; ++k) {
    watchers.push_back(std::make_unique<Watcher>(server().address(), name));
  }
  TcpRelay relay(server().address());
  for (int k = 0; k < kDead; ++k) {
    watchers.push_back(std::make_unique<Watcher>(relay.address(), name));
    EXPECT_TRUE(watchers.back()->Next().has_value());
  }
  relay.LoseClients();
  await_versions(kVersions / 3);  // All buffers are full from here on.
  const std::int64_t before = ResidentBytes();
  await_versions(kVersions);
  // What each of them would hold if the server kept what it cannot send.
  v1::GetSnapshotRequest request;
  request.set_name(name);
  request.mutable_selection()->set_area(v1::OBJECT_AREA_CANVAS);
  const auto snapshot = api().Snapshot(request);
  ASSERT_THAT(snapshot.status, IsOk());
  std::int64_t snapshot_bytes = 0;
  for (const auto& array : snapshot.value.header.arrays()) {
    snapshot_bytes += static_cast<std::int64_t>(array.bytes());
  }
  const std::int64_t growth = ResidentBytes() - before;
  EXPECT_LT(growth, kVersions * snapshot_bytes * (kIdle + kDead) / 10)
      << "a tenth of what has been published to them";
  constexpr std::int64_t kSlack = std::int64_t{8} << 20;
  EXPECT_LT(growth, kSlack);

  // One that reads is told of the newest in their order.
  Watcher live(server().address(), name);
  const std::int64_t newest = api().Get(name).value.snapshot_version();
  std::int64_t last = 0;
  while (last < newest + 20) {
    const auto version = live.Next();
    ASSERT_TRUE(version.has_value());
    EXPECT_GT(*version, last);
    last = *version;
  }
}

}  // namespace
}  // namespace ptychoserve::robustness
