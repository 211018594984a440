#include "server/service/errors.h"

#include <google/protobuf/message.h>

#include <algorithm>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace ptychoserve::server {
namespace {

namespace rpc = ::google::rpc;

constexpr char kTypePrefix[] = "type.googleapis.com/";
// Message and details travel in HTTP/2 headers, of which clients commonly take 8 KiB.
constexpr std::size_t kMaxTextBytes = 1024;
constexpr std::size_t kMaxBadRequestBytes = 3072;
constexpr std::size_t kMaxDescriptionBytes = 400;

template <typename Detail>
std::string TypeUrl() {
  return absl::StrCat(kTypePrefix, Detail::descriptor()->full_name());
}

template <typename Detail>
void Attach(absl::Status& status, const Detail& detail) {
  status.SetPayload(TypeUrl<Detail>(), absl::Cord(detail.SerializeAsString()));
}

absl::Status WithResource(absl::Status status, absl::string_view name,
                          absl::string_view description) {
  rpc::ResourceInfo info;
  info.set_resource_type("ptychoserve.v1.Session");
  info.set_resource_name(std::string(name));
  info.set_description(std::string(description));
  Attach(status, info);
  return status;
}

absl::Status WithQuota(absl::Status status, absl::string_view subject,
                       absl::string_view description) {
  rpc::QuotaFailure failure;
  auto* violation = failure.add_violations();
  violation->set_subject(std::string(subject));
  violation->set_description(std::string(description));
  Attach(status, failure);
  return status;
}

// For errors of the engine, which knows no reasons.
std::string DefaultReason(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
      return reason::kInvalidRequest;
    case absl::StatusCode::kFailedPrecondition:
      return reason::kSessionEnded;
    case absl::StatusCode::kNotFound:
      return reason::kSessionNotFound;
    case absl::StatusCode::kResourceExhausted:
      return reason::kDeviceMemory;
    case absl::StatusCode::kUnavailable:
      return reason::kDraining;
    case absl::StatusCode::kCancelled:
      return reason::kClientGone;
    default:
      return reason::kInternal;
  }
}

}  // namespace

std::string Cut(absl::string_view text, std::size_t limit) {
  if (text.size() <= limit) return std::string(text);
  std::size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return absl::StrCat(text.substr(0, end), "...");
}

absl::Status WithReason(absl::Status status, absl::string_view reason, ErrorMetadata metadata) {
  rpc::ErrorInfo info;
  info.set_reason(std::string(reason));
  info.set_domain(kErrorDomain);
  for (const auto& [key, value] : metadata) {
    (*info.mutable_metadata())[std::string(key)] = Cut(value, kMaxDescriptionBytes);
  }
  Attach(status, info);
  return status;
}

absl::Status WithRetryAfter(absl::Status status, std::chrono::milliseconds delay) {
  rpc::RetryInfo info;
  info.mutable_retry_delay()->set_seconds(delay.count() / 1000);
  info.mutable_retry_delay()->set_nanos(static_cast<int>(delay.count() % 1000) * 1'000'000);
  Attach(status, info);
  return status;
}

absl::Status InvalidFields(absl::string_view reason,
                           const std::vector<FieldViolation>& violations) {
  rpc::BadRequest bad;
  std::string message;
  for (const FieldViolation& v : violations) {
    absl::StrAppend(&message, message.empty() ? "" : "; ", v.field, ": ", v.description);
    if (bad.ByteSizeLong() + v.field.size() + kMaxDescriptionBytes > kMaxBadRequestBytes) continue;
    auto* out = bad.add_field_violations();
    out->set_field(Cut(v.field, kMaxDescriptionBytes));
    out->set_description(Cut(v.description, kMaxDescriptionBytes));
  }
  absl::Status status =
      WithReason(absl::InvalidArgumentError(message), reason,
                 {{"violations", absl::StrCat(violations.size())},
                  {"field", violations.empty() ? std::string() : violations.front().field}});
  Attach(status, bad);
  return status;
}

absl::Status InvalidField(absl::string_view reason, absl::string_view field,
                          absl::string_view description) {
  return InvalidFields(reason, {{std::string(field), std::string(description)}});
}

absl::Status SessionNotFound(absl::string_view name) {
  return WithResource(
      WithReason(absl::NotFoundError(absl::StrCat("there is no session '", Cut(name, 100), "'")),
                 reason::kSessionNotFound, {{"session", std::string(name)}}),
      Cut(name, 100), "not found");
}

absl::Status SessionDeleted(absl::string_view name) {
  return WithResource(WithReason(absl::NotFoundError(absl::StrCat("'", name, "' was deleted")),
                                 reason::kSessionDeleted, {{"session", std::string(name)}}),
                      name, "deleted");
}

absl::Status SnapshotNotFound(absl::string_view name, std::int64_t version) {
  return WithResource(
      WithReason(absl::NotFoundError(absl::StrCat(
                     "'", name, "' keeps no snapshot of version ", version,
                     "; snapshots.history says how many are kept, version 0 asks for the newest")),
                 reason::kSnapshotNotFound,
                 {{"session", std::string(name)}, {"version", absl::StrCat(version)}}),
      name, absl::StrCat("no snapshot of version ", version));
}

absl::Status FrameNotFound(absl::string_view name, absl::string_view why) {
  return WithResource(WithReason(absl::NotFoundError(absl::StrCat("'", name, "': ", why)),
                                 reason::kFrameNotFound, {{"session", std::string(name)}}),
                      name, why);
}

absl::Status SessionExists(absl::string_view name) {
  return WithResource(
      WithReason(absl::AlreadyExistsError(absl::StrCat(
                     "'", name, "' exists with another configuration; choose another session_id")),
                 reason::kSessionExists, {{"session", std::string(name)}}),
      name, "exists with another configuration");
}

absl::Status SessionFilesExist(absl::string_view name, absl::string_view directory) {
  return WithResource(
      WithReason(absl::AlreadyExistsError(absl::StrCat(
                     "'", name,
                     "' is the name of a session that could not be taken up when the "
                     "server was started (its log says why); choose another session_id, or have "
                     "the server's operator move '",
                     directory, "' away")),
                 reason::kSessionExists, {{"session", std::string(name)}}),
      name, "its files could not be taken up");
}

absl::Status SessionEnded(absl::string_view name, absl::string_view state) {
  return WithResource(
      WithReason(absl::FailedPreconditionError(absl::StrCat("'", name, "' is ", state,
                                                            ": it takes no more input or changes")),
                 reason::kSessionEnded,
                 {{"session", std::string(name)}, {"state", std::string(state)}}),
      name, absl::StrCat("is ", state));
}

absl::Status SessionActive(absl::string_view name, absl::string_view state) {
  return WithResource(WithReason(absl::FailedPreconditionError(absl::StrCat(
                                     "'", name, "' is ", state, ": stop it first, or set force")),
                                 reason::kSessionActive,
                                 {{"session", std::string(name)}, {"state", std::string(state)}}),
                      name, absl::StrCat("is ", state));
}

absl::Status DeviceMemoryExhausted(absl::string_view device, std::int64_t needed_bytes,
                                   std::int64_t free_bytes, std::int64_t usable_bytes) {
  const std::string what =
      absl::StrCat("the session needs ", needed_bytes, " bytes on ", device, ", of which ",
                   free_bytes, " are free and ", usable_bytes, " can be reserved in all");
  // Where it could never fit, waiting does not help.
  const bool can_wait = needed_bytes <= usable_bytes;
  absl::Status status = WithReason(
      absl::ResourceExhaustedError(absl::StrCat(
          what, can_wait ? "; wait for a session to end, or delete one"
                         : "; lower scan.capacity, the frame's size or object.max_pixels")),
      reason::kDeviceMemory,
      {{"device", std::string(device)},
       {"needed_bytes", absl::StrCat(needed_bytes)},
       {"free_bytes", absl::StrCat(free_bytes)},
       {"usable_bytes", absl::StrCat(usable_bytes)}});
  status = WithQuota(std::move(status), absl::StrCat("device:", device), what);
  return can_wait ? WithRetryAfter(std::move(status), std::chrono::seconds(5)) : status;
}

absl::Status SessionLimitReached(int limit) {
  const std::string what = absl::StrCat("the server holds its limit of ", limit, " sessions");
  return WithQuota(
      WithReason(absl::ResourceExhaustedError(absl::StrCat(what, "; delete one that has ended")),
                 reason::kSessionLimit, {{"limit", absl::StrCat(limit)}}),
      "sessions", what);
}

absl::Status StreamLimitReached(int limit) {
  const std::string what = absl::StrCat("the server has its limit of ", limit, " open streams");
  return WithQuota(WithReason(absl::ResourceExhaustedError(absl::StrCat(
                                  what, "; close some, or start it with a larger --max-streams")),
                              reason::kStreamLimit, {{"limit", absl::StrCat(limit)}}),
                   "streams", what);
}

absl::Status TenantQuotaReached(absl::string_view tenant, absl::string_view key,
                                std::int64_t needed, std::int64_t most) {
  const std::string what =
      absl::StrCat("tenant '", tenant, "' may have ", key, " = ", most, " and would have ", needed);
  return WithQuota(
      WithReason(
          absl::ResourceExhaustedError(absl::StrCat(
              what, "; delete a session, or have the operator allow more in the access file")),
          reason::kTenantQuota,
          {{"tenant", std::string(tenant)},
           {"quota", std::string(key)},
           {"needed", absl::StrCat(needed)},
           {"most", absl::StrCat(most)}}),
      absl::StrCat("tenant:", tenant), what);
}

absl::Status Unauthenticated() {
  return WithReason(
      absl::UnauthenticatedError("this server wants to know who calls: send a token that it knows "
                                 "and that has not expired ('authorization: Bearer TOKEN'; "
                                 "--token-file or PTYCHOSERVE_TOKEN_FILE of our programs)"),
      reason::kUnauthenticated);
}

absl::Status PermissionDenied(absl::string_view why) {
  return WithReason(absl::PermissionDeniedError(why), reason::kPermissionDenied);
}

absl::Status Draining() {
  return WithRetryAfter(
      WithReason(absl::UnavailableError("the server is shutting down"), reason::kDraining),
      std::chrono::seconds(2));
}

absl::Status ProducerFenced(std::uint64_t epoch) {
  return WithReason(
      absl::AbortedError(absl::StrCat("a stream of this producer with epoch ", epoch,
                                      " has taken over; a later attempt needs a larger one")),
      reason::kProducerFenced, {{"epoch", absl::StrCat(epoch)}});
}

std::string ReasonOf(const absl::Status& status) {
  const auto payload = status.GetPayload(TypeUrl<rpc::ErrorInfo>());
  rpc::ErrorInfo info;
  if (!payload.has_value() || !info.ParseFromString(std::string(*payload))) return "";
  return info.reason();
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  if (ReasonOf(status).empty()) {
    return ToGrpcStatus(WithReason(status, DefaultReason(status.code())));
  }
  rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(Cut(status.message(), kMaxTextBytes));
  // In a fixed order: ErrorInfo first.
  std::vector<std::pair<std::string, std::string>> payloads;
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    payloads.emplace_back(std::string(url), std::string(payload));
  });
  std::sort(payloads.begin(), payloads.end(), [](const auto& a, const auto& b) {
    const std::string info = TypeUrl<rpc::ErrorInfo>();
    return std::make_pair(a.first != info, a.first) < std::make_pair(b.first != info, b.first);
  });
  for (auto& [url, payload] : payloads) {
    auto* any = details.add_details();
    any->set_type_url(url);
    any->set_value(std::move(payload));
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), details.message(),
                      details.SerializeAsString());
}

}  // namespace ptychoserve::server
