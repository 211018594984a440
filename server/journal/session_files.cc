#include "server/journal/session_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/failpoint.h"
#include "engine/base/status_macros.h"
#include "engine/base/version.h"
#include "engine/io/record_file.h"
#include "server/journal/snapshot_records.h"
#include "server/security/caller.h"
#include "server/service/convert.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {
namespace {

namespace fs = std::filesystem;

constexpr char kManifestName[] = "manifest.rec";
constexpr char kCheckpointName[] = "checkpoint.rec";
constexpr char kResultName[] = "result.rec";
constexpr char kJournalPrefix[] = "input-";
constexpr char kRecordSuffix[] = ".rec";
constexpr char kSessionsName[] = "sessions";
constexpr char kRemovedPrefix[] = "removed.";  // No session id has a dot.
constexpr char kLockName[] = "LOCK";
constexpr char kOfTenant = '@';  // "scan-7@beamline-3". Neither id nor tenant has one.

// Sessions of the tenant of servers without tenants have only their id.
std::string DirectoryOf(const SessionKey& key) {
  if (key.tenant == kDefaultTenant) return key.id;
  return absl::StrCat(key.id, std::string(1, kOfTenant), key.tenant);
}

SessionKey KeyOf(const std::string& directory) {
  const std::size_t at = directory.find(kOfTenant);
  if (at == std::string::npos) return {kDefaultTenant, directory};
  return {directory.substr(at + 1), directory.substr(0, at)};
}

// Calls take(record) for each record of the file.
template <class Take>
absl::Status ForEachRecord(const std::string& path, Take take) {
  PS_ASSIGN_OR_RETURN(RecordReader reader, RecordReader::Open(path));
  while (true) {
    PS_ASSIGN_OR_RETURN(const auto record, reader.Next());
    if (!record) break;
    PS_RETURN_IF_ERROR(take(*record));
  }
  if (reader.lost_bytes() == 0) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path, ": ", reader.lost_bytes(), " damaged bytes"));
}

template <class Message>
absl::Status ParseRecord(const Record& record, Message* message) {
  if (message->ParseFromArray(record.payload.data(), static_cast<int>(record.payload.size()))) {
    return absl::OkStatus();
  }
  return absl::DataLossError("a record that cannot be read");
}

absl::Status Failed(const std::string& what, const std::error_code& error) {
  return absl::InternalError(absl::StrCat(what, ": ", error.message()));
}

}  // namespace

state::v1::Manifest ManifestOf(const std::string& session_id,
                               const ptychoserve::v1::SessionConfig& requested,
                               std::chrono::system_clock::time_point create_time) {
  state::v1::Manifest manifest;
  manifest.set_session_id(session_id);
  *manifest.mutable_config() = requested;
  *manifest.mutable_create_time() = TimeToProto(create_time);
  manifest.set_server_version(kVersion);
  return manifest;
}

// --- One session -----------------------------------------------------------------------------

std::string SessionFiles::PathOf(const char* name) const {
  return absl::StrCat(directory_, "/", name);
}

bool SessionFiles::InUse() const {
  std::error_code ignored;
  return fs::exists(PathOf(kManifestName), ignored) || !Segments().empty();
}

absl::Status SessionFiles::Create(const state::v1::Manifest& manifest) const {
  std::error_code error;
  fs::create_directories(directory_, error);
  if (error) return Failed(directory_, error);
  const std::string bytes = manifest.SerializeAsString();
  const Record record = MessageRecord(StateKind::kManifest, bytes);
  PS_RETURN_IF_ERROR(ReplaceRecordFile(PathOf(kManifestName), std::span(&record, 1)));
  return SyncDirectory(fs::path(directory_).parent_path().string());
}

absl::StatusOr<state::v1::Manifest> SessionFiles::ReadManifest() const {
  state::v1::Manifest manifest;
  PS_RETURN_IF_ERROR(ForEachRecord(
      PathOf(kManifestName), [&](const Record& record) { return ParseRecord(record, &manifest); }));
  if (!manifest.has_config()) return absl::DataLossError("a manifest without a configuration");
  return manifest;
}

absl::Status SessionFiles::WriteCheckpoint(const Checkpoint& checkpoint) const {
  const SnapshotRecords records(checkpoint);
  return ReplaceRecordFile(PathOf(kCheckpointName), records.records());
}

absl::StatusOr<std::shared_ptr<const Checkpoint>> SessionFiles::ReadCheckpoint() const {
  SnapshotReader reader;
  const absl::Status read = ForEachRecord(
      PathOf(kCheckpointName), [&](const Record& record) { return reader.Take(record); });
  if (absl::IsNotFound(read)) return nullptr;
  PS_RETURN_IF_ERROR(read);
  return reader.Finish();
}

absl::Status SessionFiles::WriteResult(const SavedResult& saved, bool keep_input) const {
  const std::string bytes = saved.result.SerializeAsString();
  std::vector<Record> records = {MessageRecord(StateKind::kResult, bytes)};
  std::optional<SnapshotRecords> snapshot;
  if (saved.snapshot != nullptr) {
    snapshot.emplace(*saved.snapshot);
    records.insert(records.end(), snapshot->records().begin(), snapshot->records().end());
  }
  PS_RETURN_IF_ERROR(ReplaceRecordFile(PathOf(kResultName), records));
  Failpoint("result.before_cleanup");
  std::error_code ignored;  // What stays behind is removed when the session is.
  if (!keep_input) {
    for (const auto& segment : JournalSegments()) {
      for (const std::string& path : segment) fs::remove(path, ignored);
    }
  }
  fs::remove(PathOf(kCheckpointName), ignored);
  return absl::OkStatus();
}

absl::StatusOr<SavedResult> SessionFiles::ReadResult() const {
  SavedResult saved;
  SnapshotReader reader;
  PS_RETURN_IF_ERROR(ForEachRecord(PathOf(kResultName), [&](const Record& record) {
    if (record.kind != static_cast<std::uint32_t>(StateKind::kResult)) return reader.Take(record);
    return ParseRecord(record, &saved.result);
  }));
  PS_ASSIGN_OR_RETURN(const std::shared_ptr<const Checkpoint> checkpoint, reader.Finish());
  if (checkpoint != nullptr) saved.snapshot = checkpoint->snapshot;
  return saved;
}

std::map<int, std::vector<std::string>> SessionFiles::Segments() const {
  std::map<int, std::vector<std::string>> segments;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory_, ignored)) {
    const std::string name = entry.path().filename().string();
    absl::string_view rest = name;
    if (!absl::ConsumePrefix(&rest, kJournalPrefix) || !absl::ConsumeSuffix(&rest, kRecordSuffix)) {
      continue;
    }
    int segment = 0;
    if (!absl::SimpleAtoi(rest.substr(0, rest.find('-')), &segment)) continue;
    segments[segment].push_back(entry.path().string());
  }
  return segments;
}

std::vector<std::vector<std::string>> SessionFiles::JournalSegments() const {
  std::vector<std::vector<std::string>> all;
  for (auto& [number, paths] : Segments()) {
    std::ranges::sort(paths);  // Whatever the order of the directory, what is read is the same.
    all.push_back(std::move(paths));
  }
  return all;
}

int SessionFiles::NextSegment() const {
  const auto segments = Segments();
  return segments.empty() ? 1 : segments.rbegin()->first + 1;
}

absl::Status SessionFiles::Remove() const {
  const fs::path from(directory_);
  const fs::path removed =
      from.parent_path() / absl::StrCat(kRemovedPrefix, from.filename().string());
  std::error_code error;
  fs::remove_all(removed, error);
  fs::rename(from, removed, error);
  if (error == std::errc::no_such_file_or_directory) return absl::OkStatus();
  if (error) return Failed(directory_, error);
  PS_RETURN_IF_ERROR(SyncDirectory(from.parent_path().string()));
  fs::remove_all(removed, error);
  if (error) return Failed(removed.string(), error);
  return absl::OkStatus();
}

// --- All sessions ----------------------------------------------------------------------------

absl::StatusOr<std::unique_ptr<StateDirectory>> StateDirectory::Open(const std::string& path) {
  const auto refused = [&](const std::string& why) {
    return absl::InvalidArgumentError(absl::StrCat("--state-dir ", path, ": ", why));
  };
  std::error_code error;
  const fs::path sessions = fs::path(path) / kSessionsName;
  // Names of sessions and tenants are nobody else's business.
  if (fs::create_directories(sessions, error)) {
    fs::permissions(sessions, fs::perms::owner_all, error);
  }
  if (error) return refused(error.message());
  const std::string lock_path = absl::StrCat(path, "/", kLockName);
  constexpr mode_t kMode = 0600;
  const int lock = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kMode);
  if (lock < 0) return refused(std::strerror(errno));
  if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
    close(lock);
    return absl::FailedPreconditionError(
        absl::StrCat("--state-dir ", path, ": another server uses it"));
  }
  return std::unique_ptr<StateDirectory>(new StateDirectory(path, lock));
}

StateDirectory::~StateDirectory() { close(lock_); }

SessionFiles StateDirectory::FilesOf(const SessionKey& key) const {
  return SessionFiles(absl::StrCat(path_, "/", kSessionsName, "/", DirectoryOf(key)));
}

std::vector<SessionKey> StateDirectory::Sessions() const {
  std::vector<SessionKey> keys;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(fs::path(path_) / kSessionsName, ignored)) {
    const std::string name = entry.path().filename().string();
    if (absl::StartsWith(name, kRemovedPrefix)) {
      std::error_code error;
      fs::remove_all(entry.path(), error);
    } else {
      keys.push_back(KeyOf(name));
    }
  }
  std::ranges::sort(keys);
  return keys;
}

}  // namespace ptychoserve::server
