#include "server/ingest/import_state.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/io/record_file.h"
#include "ptychoserve/state/v1/state.pb.h"
#include "server/journal/replay.h"
#include "server/journal/snapshot_records.h"
#include "server/service/convert.h"
#include "server/service/errors.h"
#include "server/service/handlers.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {
namespace {

absl::Status BadFile(absl::string_view what) {
  return WithReason(absl::InvalidArgumentError(absl::StrCat("the state file ", what)),
                    reason::kBadStateFile);
}

// Calls take(record) for each record of a file that has to be without damage.
template <class Take>
absl::Status ForEachRecordOfStateFile(const std::string& path, Take take) {
  auto reader = RecordReader::Open(path);
  if (!reader.ok()) return BadFile("is none: it does not begin as one");
  while (true) {
    PS_ASSIGN_OR_RETURN(const auto record, reader->Next());
    if (!record) break;
    PS_RETURN_IF_ERROR(take(*record));
  }
  if (reader->lost_bytes() == 0) return absl::OkStatus();
  return BadFile(absl::StrCat("is damaged: ", reader->lost_bytes(), " bytes are of no record"));
}

bool IsInput(const Record& record) {
  return record.kind <= static_cast<std::uint32_t>(RecordKind::kEvent);
}

// What a state file holds besides its input.
struct StateFile {
  state::v1::Manifest manifest;
  std::shared_ptr<const Checkpoint> checkpoint;  // Null: none.
};

absl::StatusOr<StateFile> ReadStateFile(const std::string& path) {
  StateFile file;
  SnapshotReader snapshot;
  std::int64_t records = 0;
  bool whole = false;
  PS_RETURN_IF_ERROR(ForEachRecordOfStateFile(path, [&](const Record& record) -> absl::Status {
    const auto kind = static_cast<StateKind>(record.kind);
    if (kind == StateKind::kManifest) {
      file.manifest.ParseFromArray(record.payload.data(), static_cast<int>(record.payload.size()));
    } else if (kind == StateKind::kEnd) {
      state::v1::End end;
      end.ParseFromArray(record.payload.data(), static_cast<int>(record.payload.size()));
      whole = end.records() == records;
    } else if (!IsInput(record)) {
      if (const absl::Status taken = snapshot.Take(record); !taken.ok()) {
        return BadFile(absl::StrCat("has ", taken.message()));
      }
    }
    ++records;
    return absl::OkStatus();
  }));
  if (!whole) return BadFile("is not whole: its last record is missing, or some before it");
  if (!file.manifest.has_config()) return BadFile("has no configuration");
  auto checkpoint = snapshot.Finish();
  if (!checkpoint.ok()) return BadFile(absl::StrCat("has ", checkpoint.status().message()));
  file.checkpoint = *std::move(checkpoint);
  return file;
}

// A run that begins anew with what this one has come to.
std::shared_ptr<const Checkpoint> AsBeginning(const Checkpoint& checkpoint) {
  auto snapshot = std::make_shared<Snapshot>(*checkpoint.snapshot);
  snapshot->version = 1;
  snapshot->iteration = 0;
  snapshot->final = false;
  snapshot->points.clear();
  snapshot->background.reset();
  snapshot->probe_components.reset();
  snapshot->metrics = {};
  snapshot->run = {};
  auto beginning = std::make_shared<Checkpoint>();
  beginning->snapshot = std::move(snapshot);
  beginning->probe = checkpoint.probe;
  return beginning;
}

absl::Status CheckPixelSize(const Snapshot& snapshot, const ReconstructionConfig& config) {
  constexpr double kTolerance = 1e-9;
  const PixelSize size = ObjectPixelSize(config.optics, config.detector);
  const auto same = [](double a, double b) { return std::abs(a - b) <= kTolerance * b; };
  if (same(snapshot.pixel_size_y_m, size.y_m) && same(snapshot.pixel_size_x_m, size.x_m)) {
    return absl::OkStatus();
  }
  return InvalidField(
      reason::kInvalidConfig, "config.optics",
      absl::StrCat("its object pixels are ", size.y_m, " x ", size.x_m, " m, those of the file ",
                   snapshot.pixel_size_y_m, " x ", snapshot.pixel_size_x_m, " m"));
}

}  // namespace

ImportStateStream* ImportStateStream::Start(const Call& call, v1::Session* response) {
  std::shared_ptr<ImportStateStream> stream(new ImportStateStream(call, response));
  stream->self_ = stream;
  if (!call.core.streams.Add(stream)) {
    stream->End(StreamLimitReached(call.core.streams.most()));
  } else {
    stream->Read();
  }
  return stream.get();
}

ImportStateStream::~ImportStateStream() {
  if (fd_ >= 0) close(fd_);
}

void ImportStateStream::Read() {
  MutexLock lock(mu_);
  if (finished_) return;
  timeout_.After(kReadTimeout, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) {
      self->End(WithReason(absl::DeadlineExceededError("no further part of the file has come"),
                           reason::kFirstMessageTimeout));
    }
  });
  StartRead(&message_);
}

void ImportStateStream::OnReadDone(bool ok) {
  {
    MutexLock lock(mu_);
    timeout_.Cancel();
    if (finished_) return;
  }
  core_.imports.Post([self = shared_from_this(), last = !ok] { self->Take(last); });
}

void ImportStateStream::OnCancel() {
  cancelled_ = true;
  End(absl::CancelledError("the call was cancelled"));
}

void ImportStateStream::Drain() {
  drained_ = true;
  End(Draining());
}

void ImportStateStream::Take(bool last) {
  if (drained_ || cancelled_) return;
  const absl::Status taken = last ? Import() : Append();
  if (last || !taken.ok()) return End(taken);
  Read();
}

absl::Status ImportStateStream::OpenFile() {
  const std::string directory = core_.state != nullptr
                                    ? core_.state->path()
                                    : std::filesystem::temp_directory_path().string();
  std::string path = absl::StrCat(directory, "/import-XXXXXX");
  fd_ = mkostemp(path.data(), O_CLOEXEC);
  if (fd_ < 0) {
    return absl::InternalError(
        absl::StrCat("no file can be made in ", directory, ": ", std::strerror(errno)));
  }
  unlink(path.c_str());
  return absl::OkStatus();
}

absl::Status ImportStateStream::Append() {
  if (message_.has_start()) {
    if (fd_ >= 0) {
      return InvalidField(reason::kProtocolViolation, "start", "it may come once only");
    }
    start_ = std::move(*message_.mutable_start());
    if (!start_.session_id().empty()) PS_RETURN_IF_ERROR(CheckSessionId(start_.session_id()));
    return OpenFile();
  }
  if (fd_ < 0) {
    return InvalidField(reason::kProtocolViolation, "start", "it must be the first message");
  }
  std::string_view data = message_.data();
  while (!data.empty()) {
    const ssize_t written = write(fd_, data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const std::string why = absl::StrCat("the file cannot be stored: ", std::strerror(errno));
      return errno == ENOSPC ? absl::ResourceExhaustedError(why) : absl::InternalError(why);
    }
    data.remove_prefix(static_cast<std::size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status ImportStateStream::Fill(Session& session, const std::string& path,
                                     const Checkpoint* restored, Replay& replay) {
  if (restored != nullptr && session.files() != nullptr) {
    PS_RETURN_IF_ERROR(session.files()->WriteCheckpoint(*restored));
  }
  PS_RETURN_IF_ERROR(ForEachRecordOfStateFile(path, [&](const Record& record) -> absl::Status {
    if (drained_) return Draining();
    if (cancelled_) return absl::CancelledError("the call was cancelled");
    if (IsInput(record)) replay.Take(record);
    return absl::OkStatus();
  }));
  replay.ApplyUpdates();
  replay.AwaitDurable();
  return absl::OkStatus();
}

absl::Status ImportStateStream::Import() {
  if (fd_ < 0) {
    return InvalidField(reason::kProtocolViolation, "start", "it must be the first message");
  }
  const std::string path = absl::StrCat("/proc/self/fd/", fd_);
  PS_ASSIGN_OR_RETURN(StateFile file, ReadStateFile(path));
  const bool rerun = start_.mode() == v1::ImportStart::MODE_RERUN;
  const bool warm = start_.mode() == v1::ImportStart::MODE_WARM_START;
  SessionStart start{
      .key = {tenant_, start_.session_id().empty() ? MakeSessionId() : start_.session_id()},
      .requested = start_.has_config() ? start_.config() : file.manifest.config()};
  PS_ASSIGN_OR_RETURN(start.config, CheckedConfig(start.requested));
  start.held = true;
  if (rerun) file.checkpoint.reset();
  if (warm && file.checkpoint == nullptr) {
    return BadFile("has no object and probe to begin with");
  }
  if (file.checkpoint != nullptr) {
    PS_RETURN_IF_ERROR(CheckPixelSize(*file.checkpoint->snapshot, start.config));
    start.restored = warm ? AsBeginning(*file.checkpoint) : file.checkpoint;
  }
  const SessionKey key = start.key;
  const v1::SessionConfig requested = start.requested;
  const std::shared_ptr<const Checkpoint> restored = start.restored;
  PS_ASSIGN_OR_RETURN(
      const SessionRegistry::Created created,
      core_.sessions.Create(key, requested, core_.access->QuotaOf(tenant_).max_sessions,
                            [&] { return MakeSession(core_, std::move(start)); }));
  if (created.existed) return SessionExists(created.session->name());
  Session& session = *created.session;
  Replay replay(session, Replay::From::kElsewhere);
  const absl::Status filled = Fill(session, path, restored.get(), replay);
  if (!filled.ok()) {  // Half of a session is none.
    if (core_.sessions.Remove(tenant_, session.name(), /*force=*/true).ok()) session.Discard([] {});
    return filled;
  }
  session.reconstruction().Release();
  replay.ApplyEnds(/*stops=*/!rerun && !warm);
  core_.metrics.sessions_created.Increment();
  imported_ = session.ToProto();
  Log(LogLevel::kInfo, "session imported",
      {{"session", key.id},
       {"tenant", key.tenant},
       {"mode", v1::ImportStart::Mode_Name(start_.mode())},
       {"records", replay.records()},
       {"records_refused", replay.refused()},
       {"iteration", imported_.iteration()}});
  return absl::OkStatus();
}

void ImportStateStream::End(const absl::Status& status) {
  MutexLock lock(mu_);
  if (std::exchange(finished_, true)) return;
  if (status.ok()) *response_ = std::move(imported_);
  timeout_.Cancel();
  core_.streams.Leave(weak_from_this());
  Finish(ToGrpcStatus(status));
}

}  // namespace ptychoserve::server
