#include "server/journal/recovery.h"

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/io/record_file.h"
#include "server/journal/journal_reader.h"
#include "server/journal/replay.h"
#include "server/service/convert.h"
#include "server/service/enums.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {
namespace {

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
        {{"session", start.key.id}, {"reason", std::string(checkpoint.status().message())}});
    checkpoint = nullptr;
  }
  start.restored = *checkpoint;
  start.held = true;
  PS_ASSIGN_OR_RETURN(DeviceSet::Placement placement,
                      core.devices.Place(start.config, core.limits.session.staging_bytes));
  PS_ASSIGN_OR_RETURN(
      const std::shared_ptr<Session> session,
      Session::Create(std::move(start), std::move(placement), core.limits.session, core.pools()));
  std::vector<std::vector<std::string>> segments = files.JournalSegments();
  // What is found is called durable from now on, also where the last server did not get to say so.
  for (auto& segment : segments) {
    std::erase_if(segment, [&](const std::string& path) {
      const absl::Status synchronised = SyncFile(path);
      if (synchronised.ok()) return false;
      Log(LogLevel::kError, "a file of the journal is left out",
          {{"session", session->id()}, {"reason", std::string(synchronised.message())}});
      return true;
    });
  }
  JournalReader journal(std::move(segments), session->id());
  Replay replay(*session, Replay::From::kItsJournal);
  while (const auto record = journal.Next()) replay.Take(*record);
  replay.ApplyUpdates();
  session->Resume(replay.restarts() + 1);
  replay.ApplyEnds(/*stops=*/true);
  const Progress progress = session->reconstruction().progress();
  // Bytes that are no records: the torn end of what was being written when the server was killed,
  // or damage, which nobody can tell apart.
  Log(journal.lost_bytes() > 0 ? LogLevel::kWarning : LogLevel::kInfo, "session taken up",
      {{"session", session->id()},
       {"tenant", session->key().tenant},
       {"frames", progress.frames.accepted},
       {"positions", progress.positions.accepted},
       {"iteration", progress.iteration},
       {"records", replay.records()},
       {"records_refused", replay.refused()},
       {"lost_bytes", journal.lost_bytes()},
       {"seconds",
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()}});
  return session;
}

absl::StatusOr<std::shared_ptr<Session>> Recover(Core& core, const SessionKey& key) {
  const SessionFiles files = core.state->FilesOf(key);
  const auto manifest = files.ReadManifest();
  if (absl::IsNotFound(manifest.status())) {  // Its creation was never answered.
    PS_RETURN_IF_ERROR(files.Remove());
    return nullptr;
  }
  PS_RETURN_IF_ERROR(manifest.status());
  SessionStart start{.key = key, .requested = manifest->config()};
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
  for (const SessionKey& key : core.state->Sessions()) {
    const auto session = Recover(core, key);
    if (!session.ok()) {
      Log(LogLevel::kError, "a session cannot be taken up; its files stay",
          {{"session", key.id},
           {"tenant", key.tenant},
           {"reason", std::string(session.status().message())}});
    } else if (*session != nullptr) {
      core.sessions.Restore(*session);
    }
  }
}

}  // namespace ptychoserve::server
