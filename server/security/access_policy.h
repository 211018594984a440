#ifndef PTYCHOSERVE_SERVER_SECURITY_ACCESS_POLICY_H_
#define PTYCHOSERVE_SERVER_SECURITY_ACCESS_POLICY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/security/caller.h"

namespace ptychoserve::server {

inline constexpr std::size_t kDigestBytes = 32;
using Digest = std::array<unsigned char, kDigestBytes>;

Digest Sha256(absl::string_view text);

// How a caller is recognised, and what it may do then. Exactly one of the three ways is set.
struct Principal {
  std::string name;
  std::string tenant = kDefaultTenant;  // "*": all of them.
  Role role = Role::kViewer;
  std::optional<Digest> token;             // SHA-256 of the token it shows.
  std::optional<std::string> certificate;  // The common name of the certificate it shows.
  bool unix_socket = false;                // It comes by a Unix socket and shows no token.
  absl::Time expires = absl::InfiniteFuture();
};

// What one tenant may have at a time; nothing set: as much as there is.
struct TenantQuota {
  std::optional<std::int64_t> max_sessions;  // Ended ones included.
  std::optional<std::int64_t> max_device_bytes;
  std::optional<double> max_ingest_bytes_per_s;
  std::optional<double> max_snapshots_per_s;
};

// Tokens that an identity provider has signed (JWT, RFC 7519). Their claims: sub, role, tenant (may
// be left out), exp, and nbf, iss, aud where there are some.
struct JwtRule {
  std::string public_key;  // PEM.
  std::string issuer;      // Empty: any.
  std::string audience;    // Empty: any.
};

// Who may do what: the contents of the access file. docs/security.md describes it.
struct AccessPolicy {
  std::vector<Principal> principals;
  std::map<std::string, TenantQuota> tenants;
  std::optional<JwtRule> jwt;
};

// Errors: kInvalidArgument, naming the line and the key.
absl::StatusOr<AccessPolicy> ParseAccessPolicy(const std::string& yaml);
// Likewise of a file, and of the key files it names. Errors: kInvalidArgument, naming the file.
absl::StatusOr<AccessPolicy> ReadAccessPolicy(const std::string& path);

// "[a-z0-9-]{1,63}", as ids of sessions.
bool IsTenantName(absl::string_view name);
absl::StatusOr<Role> RoleFromName(absl::string_view name);
absl::string_view RoleName(Role role);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SECURITY_ACCESS_POLICY_H_
