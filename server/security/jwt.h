#ifndef PTYCHOSERVE_SERVER_SECURITY_JWT_H_
#define PTYCHOSERVE_SERVER_SECURITY_JWT_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/security/access_policy.h"
#include "server/security/identify.h"

namespace ptychoserve::server {

// Three parts with dots between, which no token of 'ptychoctl token' has.
bool LooksLikeJwt(absl::string_view token);

// Who a signed token says it is. It must be signed with RSA or ECDSA (an HMAC could be made by
// whoever has the public key), have sub, role and exp, and fit the rule's issuer and audience.
Identity IdentifyByJwt(const JwtRule& rule, const std::string& token, absl::Time now);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SECURITY_JWT_H_
