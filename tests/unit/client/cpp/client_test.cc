#include "client/cpp/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/unit/client/cpp/fake_service.h"
#include "tests/unit/client/cpp/test_frames.h"

namespace ptychoserve::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Client, NamesTheAddressThatDoesNotAnswer) {
  ClientOptions options;
  options.connect_timeout = std::chrono::milliseconds(10);
  const auto client = Client::Connect("127.0.0.1:1", options);
  EXPECT_EQ(client.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(client.status().message()), HasSubstr("127.0.0.1:1"));
}

TEST(Client, TakesIdsAndFullNames) {
  FakeService service;
  std::vector<std::string> names;
  service.get_session = [&](const v1::GetSessionRequest& request, v1::Session*) {
    names.push_back(request.name());
    return grpc::Status::OK;
  };
  const auto client = Connect(service);
  EXPECT_TRUE(client->GetSession("s").ok());
  EXPECT_TRUE(client->GetSession("sessions/s").ok());
  EXPECT_THAT(names, ElementsAre("sessions/s", "sessions/s"));
}

TEST(Client, HandsOverCodeMessageAndDetailsOfAnError) {
  FakeService service;
  service.get_session = [](const v1::GetSessionRequest&, v1::Session*) {
    google::rpc::Status proto;
    google::rpc::ErrorInfo info;
    info.set_reason("SESSION_NOT_FOUND");
    (*info.mutable_metadata())["hint"] = "list the sessions";
    proto.add_details()->PackFrom(info);
    google::rpc::ResourceInfo resource;
    resource.set_resource_name("sessions/s");
    proto.add_details()->PackFrom(resource);
    google::rpc::QuotaFailure quota;
    auto* violation = quota.add_violations();
    violation->set_subject("device:cpu");
    violation->set_description("10 bytes needed, 5 free");
    proto.add_details()->PackFrom(quota);
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(2);
    retry.mutable_retry_delay()->set_nanos(500'000'000);
    proto.add_details()->PackFrom(retry);
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such session", proto.SerializeAsString());
  };
  const absl::Status status = Connect(service)->GetSession("s").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "no such session");
  const ErrorDetails details = GetErrorDetails(status);
  EXPECT_EQ(details.reason, "SESSION_NOT_FOUND");
  EXPECT_EQ(details.hint, "list the sessions");
  EXPECT_EQ(details.resource_name, "sessions/s");
  ASSERT_EQ(details.quota_violations.size(), 1);
  EXPECT_EQ(details.quota_violations[0].description, "10 bytes needed, 5 free");
  EXPECT_EQ(details.retry_after_s, 2.5);
}

TEST(Client, ListsAllPages) {
  FakeService service;
  service.list = [](const v1::ListSessionsRequest& request, v1::ListSessionsResponse* response) {
    if (request.page_token().empty()) {
      response->add_sessions()->set_name("sessions/a");
      response->set_next_page_token("2");
    } else {
      response->add_sessions()->set_name("sessions/b");
    }
    return grpc::Status::OK;
  };
  const auto sessions = Connect(service)->ListSessions();
  ASSERT_TRUE(sessions.ok()) << sessions.status();
  ASSERT_EQ(sessions->size(), 2);
  EXPECT_EQ((*sessions)[1].name(), "sessions/b");
}

// A snapshot of a 1 x 2 object and one point, the object in two chunks.
std::vector<v1::SnapshotChunk> Chunks() {
  std::vector<v1::SnapshotChunk> chunks(4);
  v1::SnapshotHeader& header = *chunks[0].mutable_header();
  header.set_version(3);
  v1::ArrayInfo& object = *header.add_arrays();
  object.set_kind(v1::ARRAY_KIND_OBJECT);
  object.set_element(v1::ArrayInfo::ELEMENT_COMPLEX64);
  object.add_shape(1);
  object.add_shape(2);
  object.set_bytes(16);
  v1::ArrayInfo& points = *header.add_arrays();
  points.set_kind(v1::ARRAY_KIND_POINTS);
  points.set_element(v1::ArrayInfo::ELEMENT_FLOAT64);
  points.add_shape(1);
  points.add_shape(9);
  points.set_bytes(72);
  const float pixels[4] = {1, 2, 3, 4};
  const double point[9] = {7, 1.5, 2.5, 0.25, -0.5, 1.25, 0.125, 2, 12};
  chunks[1].mutable_data()->set_data(pixels, 8);
  chunks[2].mutable_data()->set_offset(8);
  chunks[2].mutable_data()->set_data(pixels + 2, 8);
  chunks[3].mutable_data()->set_array(1);
  chunks[3].mutable_data()->set_data(point, sizeof(point));
  return chunks;
}

absl::StatusOr<Snapshot> Fetch(const std::vector<v1::SnapshotChunk>& chunks) {
  FakeService service;
  service.snapshot = [&](grpc::ServerWriter<v1::SnapshotChunk>* writer) {
    for (const v1::SnapshotChunk& chunk : chunks) writer->Write(chunk);
    return grpc::Status::OK;
  };
  return Connect(service)->GetSnapshot("s", {});
}

TEST(Client, PutsASnapshotTogether) {
  const auto snapshot = Fetch(Chunks());
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  EXPECT_EQ(snapshot->header.version(), 3);
  EXPECT_THAT(snapshot->object.shape, ElementsAre(1, 2));
  EXPECT_THAT(snapshot->object.values,
              ElementsAre(std::complex<float>(1, 2), std::complex<float>(3, 4)));
  ASSERT_EQ(snapshot->points.size(), 1);
  EXPECT_EQ(snapshot->points[0].frame_id, 7);
  EXPECT_EQ(snapshot->points[0].row, 1.5);
  EXPECT_EQ(snapshot->points[0].col, 2.5);
  EXPECT_EQ(snapshot->points[0].shift_row, 0.25);
  EXPECT_EQ(snapshot->points[0].shift_col, -0.5);
  EXPECT_EQ(snapshot->points[0].intensity, 1.25);
  EXPECT_EQ(snapshot->points[0].r_factor, 0.125);
  EXPECT_EQ(snapshot->points[0].poisson_nll, 2);
  EXPECT_TRUE(snapshot->probe.empty());
}

TEST(Client, RefusesASnapshotThatDoesNotAddUp) {
  const auto expect_data_loss = [](const std::vector<v1::SnapshotChunk>& chunks) {
    EXPECT_EQ(Fetch(chunks).status().code(), absl::StatusCode::kDataLoss);
  };
  auto chunks = Chunks();
  chunks.pop_back();
  expect_data_loss(chunks);  // Ends early.
  chunks = Chunks();
  chunks[2].mutable_data()->set_offset(4);
  expect_data_loss(chunks);  // Overlaps.
  chunks = Chunks();
  chunks[3].mutable_data()->set_array(2);
  expect_data_loss(chunks);  // Of an array that was not announced.
  chunks = Chunks();
  chunks[0].mutable_header()->mutable_arrays(0)->set_bytes(24);
  expect_data_loss(chunks);  // Size and shape disagree.
  chunks = Chunks();
  chunks[0].mutable_header()->mutable_arrays(0)->set_shape(0, -1);
  expect_data_loss(chunks);
  chunks.erase(chunks.begin());
  expect_data_loss(chunks);  // No header.
}

TEST(Client, WatchesUntilTheServerEndsOrTheWatchIsDestroyed) {
  FakeService service;
  bool endless = false;
  service.watch = [&](grpc::ServerContext* context, grpc::ServerWriter<v1::SessionEvent>* writer) {
    v1::SessionEvent event;
    for (int k = 0; k < 3; ++k) {
      event.mutable_session()->set_iteration(k);
      writer->Write(event);
    }
    while (endless && !context->IsCancelled()) writer->Write(event);
    return grpc::Status::OK;
  };
  const auto client = Connect(service);
  std::mutex mu;
  std::condition_variable cv;
  std::vector<std::int64_t> iterations;
  std::vector<absl::StatusCode> ends;
  const auto watch = [&] {
    return client->WatchSession(
        "s", std::chrono::milliseconds(10),
        [&](const v1::SessionEvent& event) {
          std::lock_guard lock(mu);
          iterations.push_back(event.session().iteration());
          cv.notify_all();
        },
        [&](const absl::Status& status) {
          std::lock_guard lock(mu);
          ends.push_back(status.code());
          cv.notify_all();
        });
  };
  {
    const auto handle = watch();
    std::unique_lock lock(mu);
    cv.wait(lock, [&] { return !ends.empty(); });
  }
  EXPECT_THAT(iterations, ElementsAre(0, 1, 2));
  EXPECT_THAT(ends, ElementsAre(absl::StatusCode::kOk));
  endless = true;
  {
    const auto handle = watch();
    std::unique_lock lock(mu);
    cv.wait(lock, [&] { return iterations.size() > 5; });
  }
  EXPECT_THAT(ends, ElementsAre(absl::StatusCode::kOk, absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace ptychoserve::client
