#include "server/journal/recovery.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/io/record_file.h"
#include "engine/scan/id_ranges.h"
#include "server/ingest/feed.h"
#include "server/service/convert.h"
#include "server/service/enums.h"
#include "server/service/handlers.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {
namespace {

// Waits until the session's staging memory has space.
void AwaitSpace(Reconstruction& reconstruction) {
  const auto ready = std::make_shared<std::promise<void>>();  // Shared: it is set as it is left.
  reconstruction.NotifyWhenSpace([ready] { ready->set_value(); });
  ready->get_future().wait();
}

// Feeds a session what its journal holds.
class Replay {
 public:
  explicit Replay(Session& session) : session_(session) {}

  // The files of a segment, whose records go by their numbers.
  void Segment(const std::vector<std::string>& paths) {
    std::vector<Lane> lanes;
    for (const std::string& path : paths) {
      Lane lane;
      absl::Status opened = Open(path, &lane);
      if (opened.ok()) opened = Advance(&lane);
      if (opened.ok()) {
        lanes.push_back(std::move(lane));
      } else {
        Unreadable(opened);
      }
    }
    while (true) {
      const auto next = std::ranges::min_element(lanes, {}, [](const Lane& lane) {
        return lane.record ? lane.record->sequence : std::numeric_limits<std::uint64_t>::max();
      });
      if (next == lanes.end() || !next->record) break;
      // Some may have been written again after an error.
      if (taken_.Insert(static_cast<std::int64_t>(next->record->sequence))) Take(*next->record);
      if (const absl::Status read = Advance(&*next); !read.ok()) {
        Unreadable(read);
        next->record.reset();
      }
    }
    for (const Lane& lane : lanes) lost_bytes_ += lane.reader.lost_bytes();
  }

  // Tells the session what it was told besides its input; it goes on.
  void Finish() {
    for (const state::v1::Event& event : events_) {
      if (event.has_update()) ApplyUpdate(session_, event.update()).IgnoreError();
    }
    session_.Resume(restarts_ + 1);
    for (const state::v1::Event& event : events_) {
      if (event.has_finish_scan()) {
        const v1::FinishScanRequest& finish = event.finish_scan();
        session_.reconstruction()
            .FinishScan(finish.has_expected_frames() ? std::optional(finish.expected_frames())
                                                     : std::nullopt)
            .IgnoreError();
      }
      if (event.has_stop()) {
        session_.reconstruction()
            .Stop(event.stop().mode() == v1::StopSessionRequest::MODE_ABORT)
            .IgnoreError();
      }
    }
  }

  std::int64_t records() const { return records_; }
  std::int64_t refused() const { return refused_; }
  std::int64_t lost_bytes() const { return lost_bytes_; }

 private:
  struct Lane {
    RecordReader reader;
    std::optional<Record> record;  // The next one.
  };

  static absl::Status Open(const std::string& path, Lane* lane) {
    // What is found here is called durable from now on, also where the last server did not get to
    // say so.
    PS_RETURN_IF_ERROR(SyncFile(path));
    PS_ASSIGN_OR_RETURN(lane->reader, RecordReader::Open(path));
    return absl::OkStatus();
  }
  static absl::Status Advance(Lane* lane) {
    PS_ASSIGN_OR_RETURN(lane->record, lane->reader.Next());
    return absl::OkStatus();
  }
  void Unreadable(const absl::Status& status) const {
    Log(LogLevel::kError, "a file of the journal cannot be read",
        {{"session", session_.id()}, {"reason", std::string(status.message())}});
  }

  void Take(const Record& record) {
    ++records_;
    const auto kind = static_cast<RecordKind>(record.kind);
    std::vector<ClosedRange> ids;
    absl::Status taken;
    switch (kind) {
      case RecordKind::kFrames:
        taken = TakeFrames(record.payload, &ids);
        break;
      case RecordKind::kPositions:
        taken = TakePositions(record.payload, &ids);
        break;
      case RecordKind::kEvent:
        taken = TakeEvent(record.payload);
        break;
      default:
        taken = absl::DataLossError("of an unknown kind");
    }
    session_.journal()->NoteReplayed(kind, record.sequence, ids);
    if (taken.ok()) return;
    if (refused_++ == 0) {
      Log(LogLevel::kWarning, "a record of the journal cannot be used",
          {{"session", session_.id()},
           {"sequence", record.sequence},
           {"reason", std::string(taken.message())}});
    }
  }

  absl::Status TakeFrames(std::span<const std::byte> bytes, std::vector<ClosedRange>* ids) {
    FrameMessage message;
    if (!ParseFrameMessage(ByteChain(bytes), &message)) {
      return absl::DataLossError("not a StreamFramesRequest");
    }
    int next_frame = 0;
    while (true) {
      PS_ASSIGN_OR_RETURN(const bool done,
                          FeedFrames(message, session_.reconstruction(), &next_frame));
      if (done) break;
      AwaitSpace(session_.reconstruction());
    }
    *ids = IdsOf(message.request);
    return absl::OkStatus();
  }

  absl::Status TakePositions(std::span<const std::byte> bytes, std::vector<ClosedRange>* ids) {
    v1::StreamPositionsRequest message;
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return absl::DataLossError("not a StreamPositionsRequest");
    }
    PS_RETURN_IF_ERROR(FeedPositions(message, session_.reconstruction()));
    *ids = IdsOf(message);
    return absl::OkStatus();
  }

  absl::Status TakeEvent(std::span<const std::byte> bytes) {
    state::v1::Event event;
    if (!event.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return absl::DataLossError("not an Event");
    }
    if (event.has_producer()) {
      const state::v1::Producer& producer = event.producer();
      session_.producers().Restore(
          producer.positions() ? RecordKind::kPositions : RecordKind::kFrames, producer.id(),
          producer.epoch());
    }
    restarts_ += event.has_restart();
    events_.push_back(std::move(event));
    return absl::OkStatus();
  }

  Session& session_;
  IdRanges taken_;  // Numbers of records.
  std::vector<state::v1::Event> events_;
  int restarts_ = 0;
  std::int64_t records_ = 0, refused_ = 0, lost_bytes_ = 0;
};

absl::StatusOr<std::shared_ptr<Session>> RecoverEnded(Core& core, SessionStart start,
                                                      const SavedResult& saved) {
  EndedRun run;
  run.progress = ProgressFromProto(saved.result.session());
  for (int i = 0; i < saved.result.states_size() && i < saved.result.state_times_size(); ++i) {
    run.state_changes.push_back(
        {StateFromProto(saved.result.states(i)), TimeFromProto(saved.result.state_times(i))});
  }
  for (const v1::IterationMetrics& metrics : saved.result.history()) {
    run.history.push_back(MetricsFromProto(metrics));
  }
  run.snapshot = saved.snapshot;
  return Session::CreateEnded(std::move(start), std::move(run), saved.result.session(),
                              core.pools());
}

absl::StatusOr<std::shared_ptr<Session>> RecoverUnfinished(Core& core, SessionStart start) {
  const auto begin = std::chrono::steady_clock::now();
  const SessionFiles files = *start.files;
  auto checkpoint = files.ReadCheckpoint();
  if (!checkpoint.ok()) {
    Log(LogLevel::kWarning, "a checkpoint cannot be used; the session begins anew with its input",
        {{"session", start.id}, {"reason", std::string(checkpoint.status().message())}});
    checkpoint = nullptr;
  }
  start.restored = *checkpoint;
  start.held = true;
  PS_ASSIGN_OR_RETURN(DeviceSet::Placement placement, core.devices.Place(start.config));
  PS_ASSIGN_OR_RETURN(
      const std::shared_ptr<Session> session,
      Session::Create(std::move(start), std::move(placement), core.limits.session, core.pools()));
  Replay replay(*session);
  for (const auto& segment : files.JournalSegments()) replay.Segment(segment);
  replay.Finish();
  const Progress progress = session->reconstruction().progress();
  Log(LogLevel::kInfo, "session taken up",
      {{"session", session->id()},
       {"frames", progress.frames.accepted},
       {"positions", progress.positions.accepted},
       {"iteration", progress.iteration},
       {"records", replay.records()},
       {"records_refused", replay.refused()},
       {"lost_bytes", replay.lost_bytes()},
       {"seconds",
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()}});
  return session;
}

absl::StatusOr<std::shared_ptr<Session>> Recover(Core& core, const std::string& id) {
  const SessionFiles files = core.state->FilesOf(id);
  const auto manifest = files.ReadManifest();
  if (absl::IsNotFound(manifest.status())) {  // Its creation was never answered.
    PS_RETURN_IF_ERROR(files.Remove());
    return nullptr;
  }
  PS_RETURN_IF_ERROR(manifest.status());
  SessionStart start{.id = id, .requested = manifest->config()};
  PS_ASSIGN_OR_RETURN(start.config, CheckedConfig(manifest->config()));
  start.create_time = TimeFromProto(manifest->create_time());
  start.files = files;
  const auto result = files.ReadResult();
  if (result.ok()) return RecoverEnded(core, std::move(start), *result);
  if (!absl::IsNotFound(result.status())) return result.status();
  return RecoverUnfinished(core, std::move(start));
}

}  // namespace

void RecoverSessions(Core& core) {
  for (const std::string& id : core.state->SessionIds()) {
    const auto session = Recover(core, id);
    if (!session.ok()) {
      Log(LogLevel::kError, "a session cannot be taken up; its files stay",
          {{"session", id}, {"reason", std::string(session.status().message())}});
    } else if (*session != nullptr) {
      core.sessions.Restore(*session);
    }
  }
}

}  // namespace ptychoserve::server
