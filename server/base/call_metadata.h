#ifndef PTYCHOSERVE_SERVER_BASE_CALL_METADATA_H_
#define PTYCHOSERVE_SERVER_BASE_CALL_METADATA_H_

#include <grpcpp/server_context.h>

#include "absl/strings/string_view.h"

namespace ptychoserve::server {

// What the client sent with a call as `key` (lower case); empty if nothing. It lives as long as the
// context.
inline absl::string_view MetadataOf(const grpc::ServerContextBase& context, const char* key) {
  const auto found = context.client_metadata().find(key);
  if (found == context.client_metadata().end()) return {};
  return {found->second.data(), found->second.size()};
}

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_BASE_CALL_METADATA_H_
