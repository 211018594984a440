#include "client/cpp/internal/status_conversion.h"

#include "absl/strings/cord.h"

namespace ptychoserve::client::internal {

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  // The two enumerations agree number for number.
  absl::Status out(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  if (!status.error_details().empty()) {
    out.SetPayload(kStatusDetailsUrl, absl::Cord(status.error_details()));
  }
  return out;
}

}  // namespace ptychoserve::client::internal
