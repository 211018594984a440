#include "server/security/identify.h"

#include <openssl/crypto.h>

#include <algorithm>

#include "server/security/jwt.h"

namespace ptychoserve::server {
namespace {

Caller CallerOf(const Principal& principal) {
  Caller caller;
  caller.name = principal.name;
  caller.all_tenants = principal.tenant == "*";
  caller.tenant = caller.all_tenants ? kDefaultTenant : principal.tenant;
  caller.role = principal.role;
  return caller;
}

// The last entry that `matches`; all are looked at.
template <class Matches>
const Principal* Find(const AccessPolicy& policy, Matches matches) {
  const Principal* found = nullptr;
  for (const Principal& principal : policy.principals) {
    if (matches(principal)) found = &principal;
  }
  return found;
}

const Principal* FindByToken(const AccessPolicy& policy, const std::string& token) {
  const Digest digest = Sha256(token);
  return Find(policy, [&](const Principal& principal) {
    return principal.token &&
           CRYPTO_memcmp(principal.token->data(), digest.data(), digest.size()) == 0;
  });
}

const Principal* FindByConnection(const AccessPolicy& policy, const Presented& presented) {
  const Principal* found = Find(policy, [&](const Principal& principal) {
    return principal.certificate &&
           std::ranges::find(presented.certificates, *principal.certificate) !=
               presented.certificates.end();
  });
  if (found != nullptr || !presented.unix_socket) return found;
  return Find(policy, [](const Principal& principal) { return principal.unix_socket; });
}

}  // namespace

Identity Identify(const AccessPolicy& policy, const Presented& presented, absl::Time now) {
  const bool has_token = !presented.token.empty();
  if (has_token && policy.jwt && LooksLikeJwt(presented.token)) {
    return IdentifyByJwt(*policy.jwt, presented.token, now);
  }
  const Principal* principal =
      has_token ? FindByToken(policy, presented.token) : FindByConnection(policy, presented);
  if (principal == nullptr) {
    return {std::nullopt, has_token ? Unrecognised::kUnknown : Unrecognised::kMissing};
  }
  if (now >= principal->expires) return {std::nullopt, Unrecognised::kExpired};
  return {CallerOf(*principal)};
}

}  // namespace ptychoserve::server
