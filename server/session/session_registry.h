#ifndef PTYCHOSERVE_SERVER_SESSION_SESSION_REGISTRY_H_
#define PTYCHOSERVE_SERVER_SESSION_SESSION_REGISTRY_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/mutex.h"
#include "server/session/session.h"
#include "server/session/session_key.h"

namespace ptychoserve::server {

// Errors: kInvalidArgument unless `id` is [a-z0-9-]{1,63}.
absl::Status CheckSessionId(absl::string_view id);
// An id that no one else has: time and random digits, sorted by time.
std::string MakeSessionId();

// The sessions of this server by tenant and name. Nobody can tell from what it says whether another
// tenant has a session of some name. Thread-safe.
class SessionRegistry {
 public:
  explicit SessionRegistry(int max_sessions) : max_sessions_(max_sessions) {}

  using Factory = std::function<absl::StatusOr<std::shared_ptr<Session>>()>;
  struct Created {
    std::shared_ptr<Session> session;
    bool existed = false;
  };
  // The session `key` for `requested`: the one there is, if it was asked for with the same
  // configuration, else a new one from `make`. Creations run one at a time. `most`: sessions that
  // the tenant may have. Errors: kAlreadyExists with another configuration, kResourceExhausted at
  // one of the limits, kUnavailable after Close, and those of `make`.
  absl::StatusOr<Created> Create(const SessionKey& key, const v1::SessionConfig& requested,
                                 std::optional<std::int64_t> most, const Factory& make);
  // What Create would say before it calls `make`; the session, if there is one.
  absl::StatusOr<std::shared_ptr<Session>> Check(const SessionKey& key,
                                                 const v1::SessionConfig& requested,
                                                 std::optional<std::int64_t> most) const;

  // Takes in a session from before a restart, beyond the limit if need be.
  void Restore(std::shared_ptr<Session> session);

  // Errors: kNotFound; kInvalidArgument when `name` is not "sessions/{id}".
  absl::StatusOr<std::shared_ptr<Session>> Get(const std::string& tenant,
                                               absl::string_view name) const;

  struct Page {
    std::vector<std::shared_ptr<Session>> sessions;  // Ordered by tenant and name.
    std::string next_page_token;                     // Empty on the last page.
  };
  // Sessions of `tenant`, or all, after those of the page that gave `page_token`; what is created
  // or deleted meanwhile shifts nothing. Errors: kInvalidArgument for a token that is none.
  absl::StatusOr<Page> List(const std::optional<std::string>& tenant, int page_size,
                            absl::string_view page_token) const;

  // Forgets a session. Errors: kNotFound; kFailedPrecondition when it has not ended, unless
  // `force`.
  absl::StatusOr<std::shared_ptr<Session>> Remove(const std::string& tenant, absl::string_view name,
                                                  bool force);

  std::vector<std::shared_ptr<Session>> All() const;
  // No more sessions are created.
  void Close();

 private:
  absl::StatusOr<std::shared_ptr<Session>> CheckLocked(const SessionKey& key,
                                                       const v1::SessionConfig& requested,
                                                       std::optional<std::int64_t> most) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<std::shared_ptr<Session>> GetLocked(const std::string& tenant,
                                                     absl::string_view name) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const int max_sessions_;
  Mutex create_mu_;  // Held while a session is made, before mu_.
  mutable Mutex mu_;
  std::map<SessionKey, std::shared_ptr<Session>> sessions_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SESSION_SESSION_REGISTRY_H_
