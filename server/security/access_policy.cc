#include "server/security/access_policy.h"

#include <openssl/evp.h>
#include <yaml-cpp/yaml.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/read_file.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::server {
namespace {

constexpr std::size_t kMaxNameLength = 63;
constexpr absl::string_view kRoleNames[] = {"viewer", "producer", "operator", "admin"};

absl::Status Invalid(const YAML::Node& node, absl::string_view what) {
  const YAML::Mark mark = node.Mark();
  const std::string line = mark.is_null() ? "" : absl::StrCat("line ", mark.line + 1, ": ");
  return absl::InvalidArgumentError(absl::StrCat(line, what));
}

// A key that is not known may be one that is misspelt, and then somebody may do too much.
absl::Status CheckKeys(const YAML::Node& map, absl::string_view what,
                       const std::set<std::string>& allowed) {
  if (!map.IsMap()) return Invalid(map, absl::StrCat(what, ": not a list of 'key: value'"));
  for (const auto& entry : map) {
    const std::string key = entry.first.as<std::string>("");
    if (allowed.count(key) == 0) {
      return Invalid(entry.first, absl::StrCat(what, ": '", key, "' is not known; allowed: ",
                                               absl::StrJoin(allowed, ", ")));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Text(const YAML::Node& map, const char* key) {
  const YAML::Node node = map[key];
  if (!node.IsScalar() || node.Scalar().empty()) {
    return Invalid(node, absl::StrCat(key, ": not a text"));
  }
  return node.Scalar();
}

// Bytes, with a suffix as "2GB" if need be.
absl::StatusOr<std::int64_t> Bytes(const YAML::Node& map, const char* key) {
  PS_ASSIGN_OR_RETURN(std::string text, Text(map, key));
  const std::string given = text;
  bool is_size = false;
  try {
    is_size = CLI::AsSizeValue(false)(text).empty();  // "2GB" becomes digits.
  } catch (const CLI::Error&) {
    // An unknown unit, which is gone from the text by now.
  }
  std::int64_t bytes = 0;
  if (!is_size || !absl::SimpleAtoi(text, &bytes) || bytes < 0) {
    return Invalid(map[key], absl::StrCat(key, ": '", given, "'; allowed: bytes, such as 2GB"));
  }
  return bytes;
}

absl::StatusOr<double> Number(const YAML::Node& map, const char* key) {
  PS_ASSIGN_OR_RETURN(const std::string text, Text(map, key));
  double number = 0;
  if (!absl::SimpleAtod(text, &number) || !(number > 0)) {
    return Invalid(map[key], absl::StrCat(key, ": '", text, "'; allowed: > 0"));
  }
  return number;
}

bool RecognisedAlike(const Principal& a, const Principal& b) {
  return a.token == b.token && a.certificate == b.certificate && a.unix_socket == b.unix_socket;
}

absl::Status ReadRecognition(const YAML::Node& node, Principal& principal) {
  const int ways = static_cast<int>(node["sha256"].IsDefined()) +
                   static_cast<int>(node["certificate"].IsDefined()) +
                   static_cast<int>(node["peer"].IsDefined());
  if (ways != 1) {
    return Invalid(node, absl::StrCat("'", principal.name, "' has ", ways,
                                      " of sha256, certificate, peer; needed: one"));
  }
  if (node["sha256"]) {
    PS_ASSIGN_OR_RETURN(const std::string hex, Text(node, "sha256"));
    const bool is_hex = std::all_of(hex.begin(), hex.end(), absl::ascii_isxdigit);
    if (hex.size() != 2 * kDigestBytes || !is_hex) {
      return Invalid(node["sha256"],
                     "sha256: not 64 hexadecimal digits; 'ptychoctl token' prints "
                     "a new token and its entry");
    }
    const std::string bytes = absl::HexStringToBytes(hex);
    std::copy(bytes.begin(), bytes.end(), principal.token.emplace().begin());
  } else if (node["certificate"]) {
    PS_ASSIGN_OR_RETURN(principal.certificate, Text(node, "certificate"));
  } else {
    PS_ASSIGN_OR_RETURN(const std::string peer, Text(node, "peer"));
    if (peer != "unix") {
      return Invalid(node["peer"], absl::StrCat("peer: '", peer, "'; allowed: unix"));
    }
    principal.unix_socket = true;
  }
  return absl::OkStatus();
}

absl::StatusOr<Principal> ReadPrincipal(const YAML::Node& node) {
  PS_RETURN_IF_ERROR(CheckKeys(
      node, "principals", {"name", "tenant", "role", "sha256", "certificate", "peer", "expires"}));
  for (const char* key : {"name", "role"}) {
    if (!node[key]) return Invalid(node, absl::StrCat("principals: '", key, "' is missing"));
  }
  Principal principal;
  PS_ASSIGN_OR_RETURN(principal.name, Text(node, "name"));
  if (node["tenant"]) {
    PS_ASSIGN_OR_RETURN(principal.tenant, Text(node, "tenant"));
    if (principal.tenant != "*" && !IsTenantName(principal.tenant)) {
      return Invalid(node["tenant"], absl::StrCat("tenant: '", principal.tenant,
                                                  "'; allowed: [a-z0-9-]{1,63}, or \"*\""));
    }
  }
  PS_ASSIGN_OR_RETURN(const std::string role, Text(node, "role"));
  const auto known = RoleFromName(role);
  if (!known.ok()) return Invalid(node["role"], known.status().message());
  principal.role = *known;
  PS_RETURN_IF_ERROR(ReadRecognition(node, principal));
  if (node["expires"]) {
    PS_ASSIGN_OR_RETURN(const std::string text, Text(node, "expires"));
    std::string error;
    if (!absl::ParseTime(absl::RFC3339_full, text, &principal.expires, &error)) {
      return Invalid(node["expires"],
                     absl::StrCat("expires: '", text, "'; allowed: as 2027-01-31T00:00:00Z"));
    }
  }
  return principal;
}

absl::StatusOr<TenantQuota> ReadQuota(const std::string& tenant, const YAML::Node& node) {
  TenantQuota quota;
  PS_RETURN_IF_ERROR(CheckKeys(
      node, absl::StrCat("tenants: ", tenant),
      {"max_sessions", "max_device_bytes", "max_ingest_bytes_per_s", "max_snapshots_per_s"}));
  if (node["max_sessions"]) {
    PS_ASSIGN_OR_RETURN(const double sessions, Number(node, "max_sessions"));
    quota.max_sessions = static_cast<std::int64_t>(sessions);
  }
  if (node["max_device_bytes"]) {
    PS_ASSIGN_OR_RETURN(quota.max_device_bytes, Bytes(node, "max_device_bytes"));
  }
  if (node["max_ingest_bytes_per_s"]) {
    PS_ASSIGN_OR_RETURN(const std::int64_t bytes, Bytes(node, "max_ingest_bytes_per_s"));
    if (bytes == 0) return Invalid(node, "max_ingest_bytes_per_s: 0; allowed: > 0");
    quota.max_ingest_bytes_per_s = static_cast<double>(bytes);
  }
  if (node["max_snapshots_per_s"]) {
    PS_ASSIGN_OR_RETURN(quota.max_snapshots_per_s, Number(node, "max_snapshots_per_s"));
  }
  return quota;
}

absl::StatusOr<JwtRule> ReadJwt(const YAML::Node& node) {
  PS_RETURN_IF_ERROR(CheckKeys(node, "jwt", {"public_key", "issuer", "audience"}));
  if (!node["public_key"]) return Invalid(node, "jwt: 'public_key' is missing: a file, PEM");
  JwtRule rule;
  PS_ASSIGN_OR_RETURN(const std::string path, Text(node, "public_key"));
  PS_ASSIGN_OR_RETURN(rule.public_key, ReadFile(path));
  // With a shared secret instead, whoever can check a token could make one.
  if (rule.public_key.find("-----BEGIN PUBLIC KEY-----") == std::string::npos) {
    return Invalid(node["public_key"],
                   absl::StrCat("public_key: ", path, " holds no PEM public key"));
  }
  if (node["issuer"]) {
    PS_ASSIGN_OR_RETURN(rule.issuer, Text(node, "issuer"));
  }
  if (node["audience"]) {
    PS_ASSIGN_OR_RETURN(rule.audience, Text(node, "audience"));
  }
  return rule;
}

absl::StatusOr<AccessPolicy> ReadPolicy(const YAML::Node& root) {
  AccessPolicy policy;
  PS_RETURN_IF_ERROR(CheckKeys(root, "the file", {"principals", "tenants", "jwt"}));
  std::set<std::string> names;
  for (const auto& node : root["principals"]) {
    PS_ASSIGN_OR_RETURN(Principal principal, ReadPrincipal(node));
    if (!names.insert(principal.name).second) {
      return Invalid(node, absl::StrCat("principals: '", principal.name, "' is there twice"));
    }
    for (const Principal& other : policy.principals) {
      if (!RecognisedAlike(principal, other)) continue;
      return Invalid(node, absl::StrCat("principals: '", principal.name, "' and '", other.name,
                                        "' are recognised by the same; each needs its own"));
    }
    policy.principals.push_back(std::move(principal));
  }
  for (const auto& entry : root["tenants"]) {
    const std::string tenant = entry.first.as<std::string>("");
    if (!IsTenantName(tenant)) {
      return Invalid(entry.first,
                     absl::StrCat("tenants: '", tenant, "'; allowed: [a-z0-9-]{1,63}"));
    }
    PS_ASSIGN_OR_RETURN(policy.tenants[tenant], ReadQuota(tenant, entry.second));
  }
  if (root["jwt"]) {
    PS_ASSIGN_OR_RETURN(policy.jwt, ReadJwt(root["jwt"]));
  }
  if (policy.principals.empty() && !policy.jwt) {
    return absl::InvalidArgumentError(
        "it lists no principals: nobody could use the server; 'ptychoctl token' prints an entry");
  }
  return policy;
}

}  // namespace

Digest Sha256(absl::string_view text) {
  Digest digest{};
  EVP_Digest(text.data(), text.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
  return digest;
}

bool IsTenantName(absl::string_view name) {
  return !name.empty() && name.size() <= kMaxNameLength &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

absl::StatusOr<Role> RoleFromName(absl::string_view name) {
  for (std::size_t k = 0; k < std::size(kRoleNames); ++k) {
    if (kRoleNames[k] == name) return static_cast<Role>(k);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("role: '", name, "'; allowed: ", absl::StrJoin(kRoleNames, ", ")));
}

absl::string_view RoleName(Role role) { return kRoleNames[static_cast<int>(role)]; }

absl::StatusOr<AccessPolicy> ParseAccessPolicy(const std::string& yaml) {
  try {
    return ReadPolicy(YAML::Load(yaml));
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("not YAML: ", error.what()));
  }
}

absl::StatusOr<AccessPolicy> ReadAccessPolicy(const std::string& path) {
  PS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  auto policy = ParseAccessPolicy(text);
  if (policy.ok()) return policy;
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", policy.status().message()));
}

}  // namespace ptychoserve::server
