#ifndef PTYCHOSERVE_TESTS_INTEGRATION_API_H_
#define PTYCHOSERVE_TESTS_INTEGRATION_API_H_

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/cpp/error_details.h"
#include "client/cpp/internal/status_conversion.h"
#include "client/cpp/snapshot.h"
#include "ptychoserve/v1/service.grpc.pb.h"

namespace ptychoserve::integration {

namespace v1 = ::ptychoserve::v1;

// No call takes longer than this unless something hangs.
inline constexpr std::chrono::seconds kCallDeadline{60};

// What a call has answered.
template <typename T>
struct Result {
  grpc::Status status;
  T value;
  bool ok() const { return status.ok(); }
};

// The generated stub with a connection of its own, as a thin veneer: one line for each call.
// Thread-safe.
class Api {
 public:
  explicit Api(const std::string& address);

  v1::Ptychoserve::Stub& stub() { return *stub_; }
  const std::shared_ptr<grpc::Channel>& channel() { return channel_; }

  Result<v1::Session> Create(const std::string& id, const v1::SessionConfig& config,
                             bool validate_only = false);
  Result<v1::Session> Get(const std::string& name);
  Result<v1::ListSessionsResponse> List(int page_size, const std::string& page_token);
  // The session's present state is filled in; `change` sets the new values.
  Result<v1::Session> Update(const std::string& name, const std::vector<std::string>& paths,
                             const std::function<void(v1::SessionConfig&)>& change);
  grpc::Status Delete(const std::string& name, bool force = false);
  Result<v1::Session> Finish(const std::string& name);
  Result<v1::OrientationTest> TestOrientation(const std::string& name,
                                              std::chrono::milliseconds timeout);
  Result<v1::Session> Stop(const std::string& name, v1::StopSessionRequest::Mode mode =
                                                        v1::StopSessionRequest::MODE_UNSPECIFIED);
  Result<v1::ServerInfo> Info();
  Result<client::Snapshot> Snapshot(const v1::GetSnapshotRequest& request);
  // Object and probe, the newest.
  Result<client::Snapshot> Snapshot(const std::string& name);

  Result<client::FrameView> Frame(const v1::GetFrameRequest& request);

  // Polls until `done` says so; the last answer in any case.
  Result<v1::Session> Await(const std::string& name,
                            const std::function<bool(const v1::Session&)>& done);
  Result<v1::Session> AwaitEnd(const std::string& name);

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Ptychoserve::Stub> stub_;
};

// Calls any method with messages given as bytes, whatever they are; all answers, as bytes.
Result<std::vector<std::string>> RawCall(Api& api, const std::string& method,
                                         const std::vector<std::string>& messages);

// A context with kCallDeadline.
std::unique_ptr<grpc::ClientContext> Context();

bool IsFinal(v1::SessionState state);

// ---- Errors ----------------------------------------------------------------------------------

inline client::ErrorDetails DetailsOf(const grpc::Status& status) {
  return client::GetErrorDetails(client::internal::FromGrpc(status));
}
std::string Describe(const grpc::Status& status);

// EXPECT_THAT(status, FailsWith(grpc::StatusCode::NOT_FOUND, "SESSION_NOT_FOUND"))
MATCHER_P2(FailsWith, code, reason, "") {
  *result_listener << Describe(arg);
  return arg.error_code() == code && DetailsOf(arg).reason == reason;
}
// EXPECT_THAT(status, BlamesField("scan.capacity", "16777216")): among the violations.
MATCHER_P2(BlamesField, field, text, "") {
  *result_listener << Describe(arg);
  for (const auto& v : DetailsOf(arg).field_violations) {
    if (v.field == field && v.description.find(text) != std::string::npos) return true;
  }
  return false;
}
MATCHER(IsOk, "") {
  *result_listener << Describe(arg);
  return arg.ok();
}

// ---- Counters --------------------------------------------------------------------------------

// How often input was refused for `reason`.
std::int64_t Rejected(const v1::IngestCounters& counters, v1::RejectReason reason);
// The entry of that reason; an empty one when there is none.
v1::Rejection RejectionOf(const v1::IngestCounters& counters, v1::RejectReason reason);
// Whether received = accepted + all that were refused.
testing::AssertionResult AddsUp(const v1::IngestCounters& counters);

}  // namespace ptychoserve::integration

#endif  // PTYCHOSERVE_TESTS_INTEGRATION_API_H_
