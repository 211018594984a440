#include "server/session/session_registry.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/base/status_macros.h"
#include "server/security/access_policy.h"
#include "server/service/enums.h"
#include "server/service/errors.h"

namespace ptychoserve::server {
namespace {

constexpr std::size_t kMaxIdLength = 63;
constexpr int kDefaultPageSize = 100;
constexpr int kMaxPageSize = 1000;
constexpr char kNamePrefix[] = "sessions/";
constexpr char kTokenPrefix[] = "after:";  // Then tenant/id of the last session of the page.

// Ids and tenants are made of the same characters, and are as long at most.
bool IsSessionId(absl::string_view id) { return IsTenantName(id); }

absl::Status InvalidToken() {
  return InvalidField(reason::kInvalidRequest, "page_token",
                      "not a token of ListSessions; leave it empty for the first page");
}

std::string TokenAfter(const SessionKey& key) {
  return absl::WebSafeBase64Escape(absl::StrCat(kTokenPrefix, key.tenant, "/", key.id));
}

absl::StatusOr<SessionKey> KeyOfToken(absl::string_view page_token) {
  std::string token;
  if (!absl::WebSafeBase64Unescape(page_token, &token)) return InvalidToken();
  absl::string_view rest = token;
  if (!absl::ConsumePrefix(&rest, kTokenPrefix)) return InvalidToken();
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(rest, absl::MaxSplits('/', 1));
  if (!IsSessionId(parts.first) || !IsSessionId(parts.second)) return InvalidToken();
  return SessionKey{std::string(parts.first), std::string(parts.second)};
}

}  // namespace

absl::Status CheckSessionId(absl::string_view id) {
  if (IsSessionId(id)) return absl::OkStatus();
  return InvalidField(reason::kInvalidRequest, "session_id",
                      absl::StrCat("'", absl::CHexEscape(id.substr(0, kMaxIdLength + 1)),
                                   "'; allowed: [a-z0-9-]{1,63}"));
}

std::string MakeSessionId() {
  std::random_device random;
  return absl::StrCat(absl::FormatTime("%Y%m%d-%H%M%S-", absl::Now(), absl::UTCTimeZone()),
                      absl::StrFormat("%08x", random()));
}

absl::StatusOr<std::shared_ptr<Session>> SessionRegistry::CheckLocked(
    const SessionKey& key, const v1::SessionConfig& requested,
    std::optional<std::int64_t> most) const {
  if (closed_) return Draining();
  if (const auto it = sessions_.find(key); it != sessions_.end()) {
    using google::protobuf::util::MessageDifferencer;
    if (MessageDifferencer::Equals(it->second->requested(), requested)) return it->second;
    return SessionExists(Session::NameOf(key.id));
  }
  if (static_cast<int>(sessions_.size()) >= max_sessions_) {
    return SessionLimitReached(max_sessions_);
  }
  if (most) {
    const auto count = std::ranges::count_if(
        sessions_, [&](const auto& entry) { return entry.first.tenant == key.tenant; });
    if (count >= *most) return TenantQuotaReached(key.tenant, "max_sessions", count + 1, *most);
  }
  return nullptr;
}

absl::StatusOr<std::shared_ptr<Session>> SessionRegistry::Check(
    const SessionKey& key, const v1::SessionConfig& requested,
    std::optional<std::int64_t> most) const {
  MutexLock lock(mu_);
  return CheckLocked(key, requested, most);
}

absl::StatusOr<SessionRegistry::Created> SessionRegistry::Create(const SessionKey& key,
                                                                 const v1::SessionConfig& requested,
                                                                 std::optional<std::int64_t> most,
                                                                 const Factory& make) {
  MutexLock creating(create_mu_);
  {
    MutexLock lock(mu_);
    PS_ASSIGN_OR_RETURN(std::shared_ptr<Session> existing, CheckLocked(key, requested, most));
    if (existing != nullptr) return Created{std::move(existing), true};
  }
  PS_ASSIGN_OR_RETURN(std::shared_ptr<Session> session, make());
  MutexLock lock(mu_);
  // The server has begun to shut down meanwhile: nobody would stop this one.
  if (closed_) {
    session->reconstruction().Stop(/*abort=*/true).IgnoreError();
    return Draining();
  }
  sessions_.emplace(key, session);
  return Created{std::move(session), false};
}

void SessionRegistry::Restore(std::shared_ptr<Session> session) {
  MutexLock lock(mu_);
  const SessionKey key = session->key();
  sessions_.emplace(key, std::move(session));
}

absl::StatusOr<std::shared_ptr<Session>> SessionRegistry::GetLocked(const std::string& tenant,
                                                                    absl::string_view name) const {
  absl::string_view id = name;
  if (!absl::ConsumePrefix(&id, kNamePrefix) || !IsSessionId(id)) {
    return InvalidField(reason::kInvalidRequest, "name",
                        absl::StrCat("'", absl::CHexEscape(name.substr(0, 100)),
                                     "'; allowed: sessions/{session_id} with [a-z0-9-]{1,63}"));
  }
  const auto it = sessions_.find(SessionKey{tenant, std::string(id)});
  if (it == sessions_.end()) return SessionNotFound(name);
  return it->second;
}

absl::StatusOr<std::shared_ptr<Session>> SessionRegistry::Get(const std::string& tenant,
                                                              absl::string_view name) const {
  MutexLock lock(mu_);
  return GetLocked(tenant, name);
}

absl::StatusOr<SessionRegistry::Page> SessionRegistry::List(
    const std::optional<std::string>& tenant, int page_size, absl::string_view page_token) const {
  if (page_size < 0) {
    return InvalidField(reason::kInvalidRequest, "page_size",
                        absl::StrCat(page_size, "; allowed: 0..", kMaxPageSize));
  }
  const int limit = page_size == 0 ? kDefaultPageSize : std::min(page_size, kMaxPageSize);
  SessionKey after;
  if (!page_token.empty()) {
    PS_ASSIGN_OR_RETURN(after, KeyOfToken(page_token));
  }
  Page page;
  MutexLock lock(mu_);
  for (auto it = sessions_.upper_bound(after); it != sessions_.end(); ++it) {
    if (tenant && it->first.tenant != *tenant) continue;
    if (static_cast<int>(page.sessions.size()) == limit) {
      page.next_page_token = TokenAfter(page.sessions.back()->key());
      break;
    }
    page.sessions.push_back(it->second);
  }
  return page;
}

absl::StatusOr<std::shared_ptr<Session>> SessionRegistry::Remove(const std::string& tenant,
                                                                 absl::string_view name,
                                                                 bool force) {
  MutexLock lock(mu_);
  PS_ASSIGN_OR_RETURN(std::shared_ptr<Session> session, GetLocked(tenant, name));
  if (const SessionState state = session->state(); !force && !IsFinal(state)) {
    return SessionActive(name, StateName(state));
  }
  sessions_.erase(session->key());
  return session;
}

std::vector<std::shared_ptr<Session>> SessionRegistry::All() const {
  MutexLock lock(mu_);
  std::vector<std::shared_ptr<Session>> all;
  for (const auto& [key, session] : sessions_) all.push_back(session);
  return all;
}

void SessionRegistry::Close() {
  MutexLock lock(mu_);
  closed_ = true;
}

}  // namespace ptychoserve::server
