#ifndef PTYCHOSERVE_SERVER_SECURITY_ACCESS_H_
#define PTYCHOSERVE_SERVER_SECURITY_ACCESS_H_

#include <grpcpp/server_context.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/base/mutex.h"
#include "server/base/rate_limit.h"
#include "server/security/access_policy.h"
#include "server/security/caller.h"
#include "server/security/identify.h"
#include "server/security/method.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {

// What a tenant takes a second; shared by all its calls.
struct TenantRates {
  RateLimit ingest_bytes;
  RateLimit snapshots;
};

// Refused calls since the start.
struct AccessFailures {
  std::atomic<std::int64_t> missing = 0;
  std::atomic<std::int64_t> unknown = 0;
  std::atomic<std::int64_t> expired = 0;
  std::atomic<std::int64_t> role = 0;  // Recognised, and not allowed to do that.
};

// Lets calls in, or not. Thread-safe.
class Access {
 public:
  // By the access file `path`; empty: whoever reaches the server may do everything. Errors: those
  // of ReadAccessPolicy.
  static absl::StatusOr<std::unique_ptr<Access>> Create(const std::string& path);

  // Reads the file again; on an error, all stays as it was.
  absl::Status Reload();
  bool open_to_all() const { return path_.empty(); }

  // Who makes the call, if it may. Errors: kUnauthenticated, saying nothing but what to do;
  // kPermissionDenied, naming the role that is needed.
  absl::StatusOr<Caller> Admit(const grpc::ServerContextBase& context, Method method);
  // Who makes the call, whatever it may; nothing when nobody is recognised.
  std::optional<Caller> WhoCalls(const grpc::ServerContextBase& context) const;

  TenantQuota QuotaOf(const std::string& tenant) const;
  std::shared_ptr<TenantRates> RatesOf(const std::string& tenant);

  const AccessFailures& failures() const { return failures_; }

 private:
  explicit Access(std::string path) : path_(std::move(path)) {}
  std::shared_ptr<const AccessPolicy> policy() const;
  Identity Recognise(const grpc::ServerContextBase& context) const;
  void Count(Unrecognised why);
  void LogRefusal(const grpc::ServerContextBase& context, Method method, absl::string_view caller);

  const std::string path_;
  AccessFailures failures_;
  LogLimit refusals_;
  mutable Mutex mu_;
  std::shared_ptr<const AccessPolicy> policy_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::shared_ptr<TenantRates>> rates_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SECURITY_ACCESS_H_
