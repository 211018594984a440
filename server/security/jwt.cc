#include "server/security/jwt.h"

#include <jwt.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

namespace ptychoserve::server {
namespace {

struct FreeJwt {
  void operator()(jwt_t* jwt) const { jwt_free(jwt); }
};
using Jwt = std::unique_ptr<jwt_t, FreeJwt>;

bool IsByKeyPair(jwt_alg_t algorithm) {
  switch (algorithm) {
    case JWT_ALG_RS256:
    case JWT_ALG_RS384:
    case JWT_ALG_RS512:
    case JWT_ALG_ES256:
    case JWT_ALG_ES384:
    case JWT_ALG_ES512:
      return true;
    default:
      return false;
  }
}

std::string Claim(jwt_t* jwt, const char* name) {
  const char* value = jwt_get_grant(jwt, name);
  return value == nullptr ? "" : value;
}

// Seconds since 1970; nothing when there is no such claim.
std::optional<absl::Time> TimeClaim(jwt_t* jwt, const char* name) {
  errno = 0;
  const long seconds = jwt_get_grant_int(jwt, name);
  if (errno != 0) return std::nullopt;
  return absl::FromUnixSeconds(seconds);
}

// "aud" may be one, or a list (RFC 7519, 4.1.3).
bool IsFor(jwt_t* jwt, const std::string& audience) {
  if (audience.empty() || Claim(jwt, "aud") == audience) return true;
  const std::unique_ptr<char, decltype(&std::free)> text(jwt_get_grants_json(jwt, "aud"),
                                                         &std::free);
  if (text == nullptr) return false;
  const auto list = nlohmann::json::parse(text.get(), nullptr, /*allow_exceptions=*/false);
  return list.is_array() && std::ranges::find(list, nlohmann::json(audience)) != list.end();
}

}  // namespace

bool LooksLikeJwt(absl::string_view token) { return std::ranges::count(token, '.') == 2; }

Identity IdentifyByJwt(const JwtRule& rule, const std::string& token, absl::Time now) {
  const Identity unknown{std::nullopt, Unrecognised::kUnknown};
  jwt_t* decoded = nullptr;
  const auto* key = reinterpret_cast<const unsigned char*>(rule.public_key.data());
  if (jwt_decode(&decoded, token.c_str(), key, static_cast<int>(rule.public_key.size())) != 0) {
    return unknown;
  }
  const Jwt jwt(decoded);
  if (!IsByKeyPair(jwt_get_alg(jwt.get()))) return unknown;
  if (!rule.issuer.empty() && Claim(jwt.get(), "iss") != rule.issuer) return unknown;
  if (!IsFor(jwt.get(), rule.audience)) return unknown;
  const auto expires = TimeClaim(jwt.get(), "exp");
  if (!expires) return unknown;
  if (now >= *expires) return {std::nullopt, Unrecognised::kExpired};
  if (const auto from = TimeClaim(jwt.get(), "nbf"); from && now < *from) return unknown;

  Caller caller;
  caller.name = Claim(jwt.get(), "sub");
  const auto role = RoleFromName(Claim(jwt.get(), "role"));
  if (caller.name.empty() || !role.ok()) return unknown;
  caller.role = *role;
  if (const std::string tenant = Claim(jwt.get(), "tenant"); tenant == "*") {
    caller.all_tenants = true;
  } else if (!tenant.empty()) {
    if (!IsTenantName(tenant)) return unknown;
    caller.tenant = tenant;
  }
  return {caller};
}

}  // namespace ptychoserve::server
