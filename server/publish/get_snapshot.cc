#include "server/publish/get_snapshot.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/service/enums.h"

namespace ptychoserve::server {
namespace {

constexpr std::uint32_t kMaxWaitMs = 60'000;

absl::Status CheckRequest(const v1::GetSnapshotRequest& request) {
  if (request.version() < 0) {
    return InvalidField(reason::kInvalidRequest, "version",
                        absl::StrCat(request.version(), "; allowed: >= 0"));
  }
  if (request.not_newer_than() < 0) {
    return InvalidField(reason::kInvalidRequest, "not_newer_than",
                        absl::StrCat(request.not_newer_than(), "; allowed: >= 0"));
  }
  if (request.wait_ms() > kMaxWaitMs) {
    return InvalidField(reason::kInvalidRequest, "wait_ms",
                        absl::StrCat(request.wait_ms(), "; allowed: 0..", kMaxWaitMs));
  }
  return absl::OkStatus();
}

}  // namespace

grpc::ServerWriteReactor<v1::SnapshotChunk>* GetSnapshotStream::Start(
    const Call& call, const v1::GetSnapshotRequest& request) {
  const absl::Status checked = CheckRequest(request);
  if (!checked.ok()) return new RefusedStream<v1::SnapshotChunk>(checked);
  auto selection = ParseSelection(request.selection());
  if (!selection.ok()) return new RefusedStream<v1::SnapshotChunk>(selection.status());
  auto session = call.Find(request.name());
  if (!session.ok()) return new RefusedStream<v1::SnapshotChunk>(session.status());
  std::shared_ptr<GetSnapshotStream> stream(
      new GetSnapshotStream(call, request, *std::move(selection), *std::move(session)));
  if (request.wait_ms() > 0) stream->session_->AddListener(stream);
  return Launch(std::move(stream));
}

GetSnapshotStream::GetSnapshotStream(const Call& call, const v1::GetSnapshotRequest& request,
                                     Selection selection, std::shared_ptr<Session> session)
    : PushStream(call),
      session_(std::move(session)),
      selection_(std::move(selection)),
      version_(request.version()),
      not_newer_than_(request.not_newer_than()),
      give_up_(Clock::now() + std::chrono::milliseconds(request.wait_ms())),
      meter_(call) {}

GetSnapshotStream::Step GetSnapshotStream::Next(v1::SnapshotChunk& chunk) {
  if (!chosen_) {
    if (auto step = Choose(chunk)) return *std::move(step);
  }
  return cursor_.Next(chunk) ? Step::Write() : Step::Finish(absl::OkStatus());
}

std::optional<GetSnapshotStream::Step> GetSnapshotStream::Choose(v1::SnapshotChunk& chunk) {
  Reconstruction& reconstruction = session_->reconstruction();
  // Before the snapshot: then a final state means that there will be no newer one.
  const SessionState state = session_->state();
  auto snapshot =
      version_ == 0 ? reconstruction.latest_snapshot() : reconstruction.snapshot(version_);
  if (snapshot == nullptr && version_ != 0) {
    return Step::Finish(SnapshotNotFound(session_->name(), version_));
  }
  const std::int64_t newest = snapshot == nullptr ? 0 : snapshot->version;
  if (version_ == 0 && newest <= not_newer_than_) {
    if (Clock::now() < give_up_ && !IsFinal(state) && !session_->deleted()) {
      return Step::WaitUntil(give_up_);
    }
    v1::SnapshotHeader& header = *chunk.mutable_header();
    header.set_version(newest);
    header.set_unchanged(true);
    header.set_state(ToProto(state));
    chosen_ = true;
    return Step::Write();
  }
  const Clock::time_point now = Clock::now();
  if (const auto until = meter_.WaitUntil(now)) return Step::WaitUntil(*until);
  PreparedSnapshot prepared =
      Prepare(std::move(snapshot), selection_,
              selection_.wants(v1::ARRAY_KIND_HISTORY) ? reconstruction.history()
                                                       : std::vector<IterationRecord>());
  prepared.header.set_state(ToProto(state));
  meter_.Count(prepared.arrays, now);
  cursor_ = SnapshotCursor(std::move(prepared));
  chosen_ = true;
  return std::nullopt;
}

}  // namespace ptychoserve::server
