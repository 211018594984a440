#ifndef PTYCHOSERVE_SERVER_BASE_ADDRESS_H_
#define PTYCHOSERVE_SERVER_BASE_ADDRESS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ptychoserve::server {

struct HostPort {
  std::string host;  // Without the brackets of IPv6.
  int port = 0;
};

// Of "HOST:PORT" or "[IPv6]:PORT". Errors: kInvalidArgument.
absl::StatusOr<HostPort> ParseHostPort(absl::string_view address);

// "unix:PATH".
bool IsUnixAddress(absl::string_view address);
// Whether it can be reached from this machine only.
bool IsLocalAddress(absl::string_view address);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_BASE_ADDRESS_H_
