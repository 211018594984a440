#include "server/session/session_registry.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/base/status_macros.h"
#include "server/service/enums.h"
#include "server/service/errors.h"

namespace ptychoserve::server {
namespace {

constexpr std::size_t kMaxIdLength = 63;
constexpr int kDefaultPageSize = 100;
constexpr int kMaxPageSize = 1000;
constexpr char kNamePrefix[] = "sessions/";
constexpr char kTokenPrefix[] = "after:";  // Then the id of the last session of the page.

bool IsSessionId(absl::string_view id) {
  if (id.empty() || id.size() > kMaxIdLength) return false;
  return std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

absl::Status InvalidToken() {
  return InvalidField(reason::kInvalidRequest, "page_token",
                      "not a token of ListSessions; leave it empty for the first page");
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
    const std::string& id, const v1::SessionConfig& requested) const {
  if (closed_) return Draining();
  if (const auto it = sessions_.find(id); it != sessions_.end()) {
    using google::protobuf::util::MessageDifferencer;
    if (MessageDifferencer::Equals(it->second->requested(), requested)) return it->second;
    return SessionExists(Session::NameOf(id));
  }
  if (static_cast<int>(sessions_.size()) >= max_sessions_) {
    return SessionLimitReached(max_sessions_);
  }
  return nullptr;
}

absl::StatusOr<std::shared_ptr<Session>> SessionRegistry::Check(
    const std::string& id, const v1::SessionConfig& requested) const {
  MutexLock lock(mu_);
  return CheckLocked(id, requested);
}

absl::StatusOr<SessionRegistry::Created> SessionRegistry::Create(const std::string& id,
                                                                 const v1::SessionConfig& requested,
                                                                 const Factory& make) {
  MutexLock creating(create_mu_);
  {
    MutexLock lock(mu_);
    PS_ASSIGN_OR_RETURN(std::shared_ptr<Session> existing, CheckLocked(id, requested));
    if (existing != nullptr) return Created{std::move(existing), true};
  }
  PS_ASSIGN_OR_RETURN(std::shared_ptr<Session> session, make());
  MutexLock lock(mu_);
  // The server has begun to shut down meanwhile: nobody would stop this one.
  if (closed_) {
    session->reconstruction().Stop(/*abort=*/true).IgnoreError();
    return Draining();
  }
  sessions_.emplace(id, session);
  return Created{std::move(session), false};
}

void SessionRegistry::Restore(std::shared_ptr<Session> session) {
  MutexLock lock(mu_);
  const std::string id = session->id();
  sessions_.emplace(id, std::move(session));
}

absl::StatusOr<std::shared_ptr<Session>> SessionRegistry::GetLocked(absl::string_view name) const {
  absl::string_view id = name;
  if (!absl::ConsumePrefix(&id, kNamePrefix) || !IsSessionId(id)) {
    return InvalidField(reason::kInvalidRequest, "name",
                        absl::StrCat("'", absl::CHexEscape(name.substr(0, 100)),
                                     "'; allowed: sessions/{session_id} with [a-z0-9-]{1,63}"));
  }
  const auto it = sessions_.find(std::string(id));
  if (it == sessions_.end()) return SessionNotFound(name);
  return it->second;
}

absl::StatusOr<std::shared_ptr<Session>> SessionRegistry::Get(absl::string_view name) const {
  MutexLock lock(mu_);
  return GetLocked(name);
}

absl::StatusOr<SessionRegistry::Page> SessionRegistry::List(int page_size,
                                                            absl::string_view page_token) const {
  if (page_size < 0) {
    return InvalidField(reason::kInvalidRequest, "page_size",
                        absl::StrCat(page_size, "; allowed: 0..", kMaxPageSize));
  }
  const int limit = page_size == 0 ? kDefaultPageSize : std::min(page_size, kMaxPageSize);
  std::string after;
  if (!page_token.empty()) {
    std::string token;
    if (!absl::WebSafeBase64Unescape(page_token, &token)) return InvalidToken();
    absl::string_view id = token;
    if (!absl::ConsumePrefix(&id, kTokenPrefix) || !IsSessionId(id)) return InvalidToken();
    after = std::string(id);
  }
  Page page;
  MutexLock lock(mu_);
  auto it = after.empty() ? sessions_.begin() : sessions_.upper_bound(after);
  for (; it != sessions_.end() && static_cast<int>(page.sessions.size()) < limit; ++it) {
    page.sessions.push_back(it->second);
  }
  if (it != sessions_.end()) {
    page.next_page_token =
        absl::WebSafeBase64Escape(absl::StrCat(kTokenPrefix, page.sessions.back()->id()));
  }
  return page;
}

absl::StatusOr<std::shared_ptr<Session>> SessionRegistry::Remove(absl::string_view name,
                                                                 bool force) {
  MutexLock lock(mu_);
  PS_ASSIGN_OR_RETURN(std::shared_ptr<Session> session, GetLocked(name));
  if (const SessionState state = session->state(); !force && !IsFinal(state)) {
    return SessionActive(name, StateName(state));
  }
  sessions_.erase(session->id());
  return session;
}

std::vector<std::shared_ptr<Session>> SessionRegistry::All() const {
  MutexLock lock(mu_);
  std::vector<std::shared_ptr<Session>> all;
  for (const auto& [id, session] : sessions_) all.push_back(session);
  return all;
}

void SessionRegistry::Close() {
  MutexLock lock(mu_);
  closed_ = true;
}

}  // namespace ptychoserve::server
