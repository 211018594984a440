#include "server/publish/watch_snapshots.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/service/enums.h"

namespace ptychoserve::server {

grpc::ServerWriteReactor<v1::SnapshotChunk>* WatchSnapshotsStream::Start(
    const Call& call, const v1::WatchSnapshotsRequest& request) {
  if (request.min_interval_ms() > kMaxIntervalMs) {
    return new RefusedStream<v1::SnapshotChunk>(
        InvalidField(reason::kInvalidRequest, "min_interval_ms",
                     absl::StrCat(request.min_interval_ms(), "; allowed: 0..", kMaxIntervalMs)));
  }
  auto selection = ParseSelection(request.selection());
  if (!selection.ok()) return new RefusedStream<v1::SnapshotChunk>(selection.status());
  auto session = call.Find(request.name());
  if (!session.ok()) return new RefusedStream<v1::SnapshotChunk>(session.status());
  std::shared_ptr<WatchSnapshotsStream> stream(
      new WatchSnapshotsStream(call, request, *std::move(selection), *std::move(session)));
  stream->session_->AddListener(stream);
  return Launch(std::move(stream));
}

WatchSnapshotsStream::WatchSnapshotsStream(const Call& call,
                                           const v1::WatchSnapshotsRequest& request,
                                           Selection selection, std::shared_ptr<Session> session)
    : PushStream(call),
      session_(std::move(session)),
      selection_(std::move(selection)),
      min_interval_(request.min_interval_ms()),
      meter_(call) {}

WatchSnapshotsStream::Step WatchSnapshotsStream::Next(v1::SnapshotChunk& chunk) {
  if (cursor_.Next(chunk)) return Step::Write();
  Reconstruction& reconstruction = session_->reconstruction();
  // Before the snapshot: then the snapshot that is seen with a final state is the last one.
  const SessionState state = session_->state();
  auto snapshot = reconstruction.latest_snapshot();
  if (snapshot == nullptr || snapshot->version == sent_version_) {
    // A session that is deleted while it runs leaves no final snapshot: its watchers are told why.
    if (session_->deleted() && !sent_final_) {
      return Step::Finish(SessionDeleted(session_->name()));
    }
    if (IsFinal(state)) return Step::Finish(absl::OkStatus());
    return Step::Wait();
  }
  const Clock::time_point now = Clock::now();
  if (now < next_at_ && !IsFinal(state)) return Step::WaitUntil(next_at_);
  if (const auto until = meter_.WaitUntil(now)) return Step::WaitUntil(*until);
  next_at_ = now + min_interval_;

  PreparedSnapshot prepared =
      Prepare(std::move(snapshot), selection_,
              selection_.wants(v1::ARRAY_KIND_HISTORY) ? reconstruction.history()
                                                       : std::vector<IterationRecord>());
  prepared.header.set_state(ToProto(state));
  // What had been there before the call began was not missed by it.
  const std::int64_t version = prepared.header.version();
  prepared.header.set_skipped(sent_version_ == 0 ? 0 : version - sent_version_ - 1);
  sent_version_ = version;
  sent_final_ = prepared.header.final();
  meter_.Count(prepared.arrays, now);
  cursor_ = SnapshotCursor(std::move(prepared));
  cursor_.Next(chunk);
  return Step::Write();
}

}  // namespace ptychoserve::server
