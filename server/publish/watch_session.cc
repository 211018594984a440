#include "server/publish/watch_session.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/service/convert.h"
#include "server/service/enums.h"

namespace ptychoserve::server {
namespace {

constexpr std::uint32_t kMinIntervalMs = 10;
constexpr std::uint32_t kDefaultIntervalMs = 200;

bool HasQuality(const Progress& progress) {
  return progress.split_halves && progress.split_halves->ring_correlation;
}

}  // namespace

grpc::ServerWriteReactor<v1::SessionEvent>* WatchSessionStream::Start(
    const Call& call, const v1::WatchSessionRequest& request) {
  const std::uint32_t interval = request.min_interval_ms();
  if (interval != 0 && (interval < kMinIntervalMs || interval > kMaxIntervalMs)) {
    return new RefusedStream<v1::SessionEvent>(
        InvalidField(reason::kInvalidRequest, "min_interval_ms",
                     absl::StrCat(interval, "; allowed: ", kMinIntervalMs, "..", kMaxIntervalMs)));
  }
  auto session = call.Find(request.name());
  if (!session.ok()) return new RefusedStream<v1::SessionEvent>(session.status());
  std::shared_ptr<WatchSessionStream> stream(
      new WatchSessionStream(call, request, *std::move(session)));
  stream->session_->AddListener(stream);
  return Launch(std::move(stream));
}

WatchSessionStream::WatchSessionStream(const Call& call, const v1::WatchSessionRequest& request,
                                       std::shared_ptr<Session> session)
    : PushStream(call),
      session_(std::move(session)),
      min_interval_(request.min_interval_ms() == 0 ? kDefaultIntervalMs
                                                   : request.min_interval_ms()) {}

WatchSessionStream::Step WatchSessionStream::Next(v1::SessionEvent& event) {
  *event.mutable_time() = TimeToProto(std::chrono::system_clock::now());
  if (!begun_) {
    // The first event tells the present state; what came before is not told event by event.
    begun_ = true;
    const auto changes = session_->reconstruction().state_changes(0);
    states_ = changes.size() - 1;
    const Progress progress = session_->reconstruction().progress();
    warnings_ = progress.warnings.size();
    told_quality_ = HasQuality(progress);
  }
  if (!told_final_ && (NextWarning(event) || NextQuality(event) || NextState(event))) {
    return Step::Write();
  }
  if (told_final_) {
    if (!session_->deleted() || told_deleted_) return Step::Finish(absl::OkStatus());
    told_deleted_ = true;
    event.set_kind(v1::SessionEvent::KIND_DELETED);
    *event.mutable_session() = session_->ToProto(/*with_config=*/false);
    return Step::Write();
  }
  return NextProgress(event);
}

bool WatchSessionStream::NextState(v1::SessionEvent& event) {
  const std::vector<StateChange> changes = session_->reconstruction().state_changes(states_);
  if (changes.empty()) return false;
  const StateChange& change = changes.front();
  // What came before the end is told before it, also when it has come since it was looked for.
  if (IsFinal(change.state) && (NextWarning(event) || NextQuality(event))) return true;
  ++states_;
  event.set_kind(v1::SessionEvent::KIND_STATE);
  *event.mutable_time() = TimeToProto(change.time);
  *event.mutable_session() = session_->ToProto(/*with_config=*/false);
  event.mutable_session()->set_state(ToProto(change.state));
  told_final_ = IsFinal(change.state);
  return true;
}

bool WatchSessionStream::NextWarning(v1::SessionEvent& event) {
  const std::vector<std::string> warnings = session_->reconstruction().progress().warnings;
  if (warnings_ >= warnings.size()) return false;
  event.set_kind(v1::SessionEvent::KIND_WARNING);
  event.set_warning(warnings[warnings_++]);
  *event.mutable_session() = session_->ToProto(/*with_config=*/false);
  return true;
}

bool WatchSessionStream::NextQuality(v1::SessionEvent& event) {
  if (told_quality_ || !HasQuality(session_->reconstruction().progress())) return false;
  told_quality_ = true;
  event.set_kind(v1::SessionEvent::KIND_QUALITY);
  *event.mutable_session() = session_->ToProto(/*with_config=*/false);
  return true;
}

WatchSessionStream::Step WatchSessionStream::NextProgress(v1::SessionEvent& event) {
  const Clock::time_point now = Clock::now();
  if (now < next_progress_) return Step::WaitUntil(next_progress_);
  *event.mutable_session() = session_->ToProto(/*with_config=*/false);
  std::string progress = event.session().SerializeAsString();
  if (progress == last_progress_) return Step::Wait();
  last_progress_ = std::move(progress);
  next_progress_ = now + min_interval_;
  event.set_kind(v1::SessionEvent::KIND_PROGRESS);
  return Step::Write();
}

}  // namespace ptychoserve::server
