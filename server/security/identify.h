#ifndef PTYCHOSERVE_SERVER_SECURITY_IDENTIFY_H_
#define PTYCHOSERVE_SERVER_SECURITY_IDENTIFY_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/security/access_policy.h"
#include "server/security/caller.h"

namespace ptychoserve::server {

// What a call shows of who makes it.
struct Presented {
  std::string token;                      // Of "authorization: Bearer TOKEN"; empty: none.
  std::vector<std::string> certificates;  // Common names of the certificate; checked by TLS.
  bool unix_socket = false;
};

// Why nobody is recognised. A caller is told the same in all cases; the metrics tell them apart.
enum class Unrecognised { kMissing, kUnknown, kExpired };

struct Identity {
  std::optional<Caller> caller;
  Unrecognised why = Unrecognised::kUnknown;  // Without one.
};

// Who that is by the policy. A token is looked at first, and where there is one, nothing else. How
// long it takes does not depend on which entry a token is of, nor on how much of it is right.
Identity Identify(const AccessPolicy& policy, const Presented& presented, absl::Time now);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SECURITY_IDENTIFY_H_
