#include "server/service/errors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace ptychoserve::server {
namespace {

google::rpc::Status Details(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), static_cast<int>(status.error_code()));
  EXPECT_EQ(details.message(), status.error_message());
  return details;
}

template <typename Detail>
Detail Find(const grpc::Status& status) {
  Detail detail;
  bool found = false;
  const google::rpc::Status details = Details(status);
  for (const auto& any : details.details()) found = found || any.UnpackTo(&detail);
  EXPECT_TRUE(found) << Detail::descriptor()->full_name();
  return detail;
}

TEST(Errors, EveryErrorHasAReason) {
  const auto status = ToGrpcStatus(absl::InternalError("broken"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  const auto info = Find<google::rpc::ErrorInfo>(status);
  EXPECT_EQ(info.reason(), "INTERNAL");
  EXPECT_EQ(info.domain(), "ptychoserve");
}

TEST(Errors, AllViolationsAreListed) {
  const auto status = ToGrpcStatus(
      InvalidFields(reason::kInvalidConfig, {{"scan.capacity", "0"}, {"probe.frozen", "what"}}));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const auto bad = Find<google::rpc::BadRequest>(status);
  ASSERT_EQ(bad.field_violations_size(), 2);
  EXPECT_EQ(bad.field_violations(1).field(), "probe.frozen");
  EXPECT_EQ(Find<google::rpc::ErrorInfo>(status).reason(), "INVALID_CONFIG");
}

TEST(Errors, FitIntoTrailingMetadataHoweverMuchIsWrong) {
  std::vector<FieldViolation> many(1000, {std::string(300, 'f'), std::string(5000, 'd')});
  const auto status = ToGrpcStatus(InvalidFields(reason::kInvalidConfig, many));
  constexpr std::size_t kClientMetadataLimit = 8192;
  // Details travel base64-encoded, the message as it is.
  EXPECT_LT(status.error_details().size() * 4 / 3 + status.error_message().size(),
            kClientMetadataLimit);
  EXPECT_GT(Find<google::rpc::BadRequest>(status).field_violations_size(), 0);
}

TEST(Errors, MemoryRefusalTellsBytesAndWhetherToTryAgain) {
  const auto now = ToGrpcStatus(DeviceMemoryExhausted("cuda:0", 300, 200, 1000));
  EXPECT_EQ(now.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  const auto info = Find<google::rpc::ErrorInfo>(now);
  EXPECT_EQ(info.metadata().at("needed_bytes"), "300");
  EXPECT_EQ(info.metadata().at("free_bytes"), "200");
  EXPECT_EQ(Find<google::rpc::QuotaFailure>(now).violations(0).subject(), "device:cuda:0");
  EXPECT_GT(Find<google::rpc::RetryInfo>(now).retry_delay().seconds(), 0);

  const auto never = ToGrpcStatus(DeviceMemoryExhausted("cuda:0", 3000, 1000, 1000));
  const google::rpc::Status details = Details(never);
  for (const auto& any : details.details()) {
    EXPECT_FALSE(any.Is<google::rpc::RetryInfo>()) << "waiting would not help";
  }
}

TEST(Errors, MessageIsNotCutWithinACharacter) {
  std::string text(1023, 'x');
  text += "\xC3\xA9";  // Two bytes, at 1023 and 1024.
  const auto status = ToGrpcStatus(absl::InternalError(text));
  EXPECT_EQ(status.error_message(), std::string(1023, 'x') + "...");
}

}  // namespace
}  // namespace ptychoserve::server
