#include "client/cpp/internal/status_conversion.h"

#include <string>

#include "absl/strings/cord.h"
#include "google/rpc/status.pb.h"

namespace ptychoserve::client::internal {

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  int code = status.error_code();
  std::string message = status.error_message();
  // Of a stream that the server ends before the client does, HAProxy makes CANCELLED, and leaves
  // the details as they are.
  google::rpc::Status said;
  if (said.ParseFromString(status.error_details()) && said.code() != 0) {
    code = said.code();
    message = said.message();
  }
  // The enumerations agree number for number.
  absl::Status out(static_cast<absl::StatusCode>(code), message);
  if (!status.error_details().empty()) {
    out.SetPayload(kStatusDetailsUrl, absl::Cord(status.error_details()));
  }
  return out;
}

}  // namespace ptychoserve::client::internal
