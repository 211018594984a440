#ifndef PTYCHOSERVE_SERVER_SERVICE_ERRORS_H_
#define PTYCHOSERVE_SERVER_SERVICE_ERRORS_H_

#include <grpcpp/support/status.h>

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "engine/config.h"

namespace ptychoserve::server {

// Errors as clients see them: a canonical code, a sentence that says what to do, and google.rpc
// details. Inside the server they travel as absl::Status with the details as payloads;
// ToGrpcStatus is the one place where they become a grpc::Status.

// Domain of every ErrorInfo.
inline constexpr char kErrorDomain[] = "ptychoserve";

// Stable reasons of ErrorInfo, for programs to act upon.
namespace reason {
inline constexpr char kInvalidConfig[] = "INVALID_CONFIG";
inline constexpr char kInvalidRequest[] = "INVALID_REQUEST";
inline constexpr char kProtocolViolation[] = "PROTOCOL_VIOLATION";
inline constexpr char kSessionNotFound[] = "SESSION_NOT_FOUND";
inline constexpr char kSessionDeleted[] = "SESSION_DELETED";
inline constexpr char kSnapshotNotFound[] = "SNAPSHOT_NOT_FOUND";
inline constexpr char kFrameNotFound[] = "FRAME_NOT_FOUND";
inline constexpr char kFrameNotKept[] = "FRAME_NOT_KEPT";
inline constexpr char kSessionExists[] = "SESSION_EXISTS";
inline constexpr char kSessionEnded[] = "SESSION_ENDED";
inline constexpr char kSessionActive[] = "SESSION_ACTIVE";
inline constexpr char kDeviceMemory[] = "DEVICE_MEMORY";
inline constexpr char kSessionLimit[] = "SESSION_LIMIT";
inline constexpr char kStreamLimit[] = "STREAM_LIMIT";
inline constexpr char kFirstMessageTimeout[] = "FIRST_MESSAGE_TIMEOUT";
inline constexpr char kClientGone[] = "CLIENT_GONE";
inline constexpr char kDraining[] = "DRAINING";
inline constexpr char kInputNotKept[] = "INPUT_NOT_KEPT";
inline constexpr char kBadStateFile[] = "BAD_STATE_FILE";
inline constexpr char kProducerFenced[] = "PRODUCER_FENCED";
inline constexpr char kUnauthenticated[] = "UNAUTHENTICATED";
inline constexpr char kPermissionDenied[] = "PERMISSION_DENIED";
inline constexpr char kTenantQuota[] = "TENANT_QUOTA";
inline constexpr char kInternal[] = "INTERNAL";
}  // namespace reason

using ErrorMetadata = std::initializer_list<std::pair<absl::string_view, std::string>>;

// Attaches an ErrorInfo.
absl::Status WithReason(absl::Status status, absl::string_view reason, ErrorMetadata metadata = {});
// Attaches a hint when to try again.
absl::Status WithRetryAfter(absl::Status status, std::chrono::milliseconds delay);

// At most the first `limit` bytes of a text that a client has sent, and then "..."; never ends in
// the middle of a UTF-8 sequence, which details could not hold.
std::string Cut(absl::string_view text, std::size_t limit);

// INVALID_ARGUMENT with a BadRequest that lists all of `violations` (not empty).
absl::Status InvalidFields(absl::string_view reason, const std::vector<FieldViolation>& violations);
absl::Status InvalidField(absl::string_view reason, absl::string_view field,
                          absl::string_view description);
// NOT_FOUND with a ResourceInfo.
absl::Status SessionNotFound(absl::string_view name);
absl::Status SessionDeleted(absl::string_view name);
absl::Status SnapshotNotFound(absl::string_view name, std::int64_t version);
absl::Status FrameNotFound(absl::string_view name, absl::string_view why);
// ALREADY_EXISTS with a ResourceInfo.
absl::Status SessionExists(absl::string_view name);
// The same, of a session that could not be taken up.
absl::Status SessionFilesExist(absl::string_view name, absl::string_view directory);
// FAILED_PRECONDITION with a ResourceInfo. `state` as in the API, "COMPLETED".
absl::Status SessionEnded(absl::string_view name, absl::string_view state);
absl::Status SessionActive(absl::string_view name, absl::string_view state);
// RESOURCE_EXHAUSTED with a QuotaFailure.
absl::Status DeviceMemoryExhausted(absl::string_view device, std::int64_t needed_bytes,
                                   std::int64_t free_bytes, std::int64_t usable_bytes);
absl::Status SessionLimitReached(int limit);
absl::Status StreamLimitReached(int limit);
// Likewise, of what the access file lets `tenant` have: `key` there.
absl::Status TenantQuotaReached(absl::string_view tenant, absl::string_view key,
                                std::int64_t needed, std::int64_t most);
// UNAUTHENTICATED, the same for every caller that is not recognised.
absl::Status Unauthenticated();
absl::Status PermissionDenied(absl::string_view why);
// UNAVAILABLE with a RetryInfo: the server shuts down.
absl::Status Draining();
// kAborted: another stream of the same producer, of epoch `epoch`, has taken over.
absl::Status ProducerFenced(std::uint64_t epoch);

// Reason of the attached ErrorInfo; empty when there is none.
std::string ReasonOf(const absl::Status& status);

// The payloads as a google.rpc.Status in the error details; an ErrorInfo is made up from the code
// when none is attached. The message is cut to a length that fits into trailing metadata.
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SERVICE_ERRORS_H_
