#include "server/security/access.h"

#include <grpc/grpc_security_constants.h>

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/status_macros.h"
#include "server/base/call_metadata.h"
#include "server/service/errors.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {
namespace {

constexpr char kAuthorization[] = "authorization";
constexpr char kTenant[] = "ptychoserve-tenant";
constexpr absl::string_view kBearer = "bearer ";
constexpr std::size_t kMaxTokenBytes = 8192;

Presented PresentedBy(const grpc::ServerContextBase& context) {
  Presented presented;
  const absl::string_view authorization = MetadataOf(context, kAuthorization);
  if (absl::StartsWithIgnoreCase(authorization, kBearer) &&
      authorization.size() <= kMaxTokenBytes) {
    presented.token = std::string(absl::StripAsciiWhitespace(authorization.substr(kBearer.size())));
  }
  presented.unix_socket = absl::StartsWith(context.peer(), "unix:");
  if (const auto auth = context.auth_context(); auth != nullptr && auth->IsPeerAuthenticated()) {
    for (const grpc::string_ref& name : auth->FindPropertyValues(GRPC_X509_CN_PROPERTY_NAME)) {
      presented.certificates.emplace_back(name.data(), name.size());
    }
  }
  return presented;
}

void SetRates(const TenantQuota& quota, TenantRates& rates) {
  rates.ingest_bytes.Set(quota.max_ingest_bytes_per_s);
  rates.snapshots.Set(quota.max_snapshots_per_s);
}

Caller Anybody() {
  Caller caller;
  caller.all_tenants = true;
  caller.role = Role::kAdmin;
  return caller;
}

// The tenant that is asked for, where that is open to the caller.
absl::Status ChooseTenant(const std::string& asked, Caller& caller) {
  if (asked.empty() || asked == caller.tenant) {
    caller.chose_tenant = !asked.empty();
    return absl::OkStatus();
  }
  if (!caller.all_tenants) {
    return PermissionDenied(absl::StrCat("the caller is of tenant '", caller.tenant,
                                         "' alone; leave out the metadata '", kTenant, "'"));
  }
  if (!IsTenantName(asked)) {
    return InvalidField(reason::kInvalidRequest, kTenant, "not a tenant; allowed: [a-z0-9-]{1,63}");
  }
  caller.tenant = asked;
  caller.chose_tenant = true;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Access>> Access::Create(const std::string& path) {
  std::unique_ptr<Access> access(new Access(path));
  if (!path.empty()) PS_RETURN_IF_ERROR(access->Reload());
  return access;
}

absl::Status Access::Reload() {
  if (open_to_all()) return absl::OkStatus();
  auto read = ReadAccessPolicy(path_);
  if (!read.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--access-file ", read.status().message()));
  }
  auto policy = std::make_shared<const AccessPolicy>(*std::move(read));
  MutexLock lock(mu_);
  policy_ = std::move(policy);
  for (const auto& [tenant, rates] : rates_) {
    const auto quota = policy_->tenants.find(tenant);
    SetRates(quota == policy_->tenants.end() ? TenantQuota() : quota->second, *rates);
  }
  return absl::OkStatus();
}

std::shared_ptr<const AccessPolicy> Access::policy() const {
  MutexLock lock(mu_);
  return policy_;
}

Identity Access::Recognise(const grpc::ServerContextBase& context) const {
  const auto policy = this->policy();
  return policy == nullptr ? Identity{Anybody()}
                           : Identify(*policy, PresentedBy(context), absl::Now());
}

absl::StatusOr<Caller> Access::Admit(const grpc::ServerContextBase& context, Method method) {
  Identity identity = Recognise(context);
  if (!identity.caller) {
    Count(identity.why);
    LogRefusal(context, method, "not recognised");
    return Unauthenticated();
  }
  Caller caller = *std::move(identity.caller);
  if (const MethodRule& rule = RuleOf(method); caller.role < rule.least) {
    ++failures_.role;
    LogRefusal(context, method, RoleName(caller.role));
    return PermissionDenied(absl::StrCat(rule.name, " needs the role '", RoleName(rule.least),
                                         "'; the caller, '", caller.name, "', has '",
                                         RoleName(caller.role), "'"));
  }
  PS_RETURN_IF_ERROR(ChooseTenant(std::string(MetadataOf(context, kTenant)), caller));
  return caller;
}

std::optional<Caller> Access::WhoCalls(const grpc::ServerContextBase& context) const {
  return Recognise(context).caller;
}

void Access::Count(Unrecognised why) {
  switch (why) {
    case Unrecognised::kMissing:
      ++failures_.missing;
      break;
    case Unrecognised::kUnknown:
      ++failures_.unknown;
      break;
    case Unrecognised::kExpired:
      ++failures_.expired;
      break;
  }
}

void Access::LogRefusal(const grpc::ServerContextBase& context, Method method,
                        absl::string_view caller) {
  const auto left_out = refusals_.Next(std::chrono::steady_clock::now());
  if (!left_out) return;
  Log(LogLevel::kWarning, "call refused",
      {{"method", RuleOf(method).name},
       {"peer", context.peer()},
       {"caller", caller},
       {"not_logged", *left_out}});
}

TenantQuota Access::QuotaOf(const std::string& tenant) const {
  const auto policy = this->policy();
  if (policy == nullptr) return {};
  const auto quota = policy->tenants.find(tenant);
  return quota == policy->tenants.end() ? TenantQuota() : quota->second;
}

std::shared_ptr<TenantRates> Access::RatesOf(const std::string& tenant) {
  const TenantQuota quota = QuotaOf(tenant);
  MutexLock lock(mu_);
  std::shared_ptr<TenantRates>& rates = rates_[tenant];
  if (rates == nullptr) {
    rates = std::make_shared<TenantRates>();
    SetRates(quota, *rates);
  }
  return rates;
}

}  // namespace ptychoserve::server
