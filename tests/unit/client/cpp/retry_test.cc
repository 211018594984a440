#include "client/cpp/internal/retry.h"

#include <gtest/gtest.h>

#include <string>

#include "client/cpp/error_details.h"
#include "client/cpp/internal/status_conversion.h"
#include "client/cpp/writer_options.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace ptychoserve::client::internal {
namespace {

using std::chrono::milliseconds;

absl::Status FromServer(absl::StatusCode code, const std::string& reason) {
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  google::rpc::Status details;
  details.add_details()->PackFrom(info);
  absl::Status status(code, "words");
  status.SetPayload(kStatusDetailsUrl, absl::Cord(details.SerializeAsString()));
  return status;
}

TEST(WorthRetrying, IsWhatConnectionsDoAndNotWhatServersSay) {
  using Code = absl::StatusCode;
  for (const Code code : {Code::kUnavailable, Code::kInternal, Code::kUnknown, Code::kCancelled}) {
    EXPECT_TRUE(WorthRetrying(absl::Status(code, ""))) << code;
  }
  EXPECT_TRUE(WorthRetrying(FromServer(Code::kUnavailable, "DRAINING")));
  EXPECT_TRUE(WorthRetrying(FromServer(Code::kDeadlineExceeded, "FIRST_MESSAGE_TIMEOUT")));
  EXPECT_FALSE(WorthRetrying(FromServer(Code::kInternal, "DEVICE_FAULT")));
  for (const Code code :
       {Code::kNotFound, Code::kInvalidArgument, Code::kFailedPrecondition, Code::kDataLoss,
        Code::kResourceExhausted, Code::kPermissionDenied, Code::kAborted, Code::kUnimplemented,
        Code::kDeadlineExceeded, Code::kUnauthenticated}) {
    EXPECT_FALSE(WorthRetrying(absl::Status(code, ""))) << code;
  }
}

TEST(FromGrpc, TakesTheWordOfTheServerAndNotOfAProxy) {
  google::rpc::Status said;
  said.set_code(static_cast<int>(absl::StatusCode::kUnavailable));
  said.set_message("the server ends");
  const absl::Status status =
      FromGrpc(grpc::Status(grpc::StatusCode::CANCELLED, "Received RST_STREAM with error code 8",
                            said.SerializeAsString()));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(status.message(), "the server ends");
}

TEST(WithWords, KeepsCodeAndDetails) {
  const absl::Status status =
      WithWords(FromServer(absl::StatusCode::kAborted, "PRODUCER_FENCED"), "; and more");
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(status.message(), "words; and more");
  EXPECT_EQ(GetErrorDetails(status).reason, "PRODUCER_FENCED");
}

TEST(Backoff, DoublesUpToItsLimitAndIsShortenedByUpToHalf) {
  Backoff backoff(milliseconds(100), milliseconds(1000));
  for (int round = 0; round < 2; ++round) {
    for (const int longest : {100, 200, 400, 800, 1000, 1000}) {
      const milliseconds pause = backoff.Next();
      EXPECT_GE(pause, milliseconds(longest / 2));
      EXPECT_LE(pause, milliseconds(longest));
    }
    backoff.Reset();
  }
}

TEST(Producer, IsANameAndDrawnAtRandom) {
  EXPECT_TRUE(CheckProducer(RandomProducer()).ok());
  EXPECT_NE(RandomProducer(), RandomProducer());
  EXPECT_TRUE(CheckProducer("eiger-2.node:1_a").ok());
  EXPECT_TRUE(CheckProducer(std::string(64, 'a')).ok());
  EXPECT_FALSE(CheckProducer(std::string(65, 'a')).ok());
  EXPECT_FALSE(CheckProducer("").ok());
  EXPECT_FALSE(CheckProducer("a/b").ok());
}

}  // namespace
}  // namespace ptychoserve::client::internal
