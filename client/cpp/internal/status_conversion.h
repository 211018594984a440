#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_STATUS_CONVERSION_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_STATUS_CONVERSION_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace ptychoserve::client::internal {

// Payload of an absl::Status that holds the serialised google.rpc.Status with the details.
inline constexpr char kStatusDetailsUrl[] = "type.googleapis.com/google.rpc.Status";

// The same code and message; grpc-status-details-bin becomes the payload above.
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace ptychoserve::client::internal

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_STATUS_CONVERSION_H_
