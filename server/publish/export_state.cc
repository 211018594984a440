#include "server/publish/export_state.h"

#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "server/journal/session_files.h"

namespace ptychoserve::server {
namespace {

constexpr std::size_t kPartBytes = 1 << 20;

absl::Status InputNotKept(absl::string_view name, absl::string_view why) {
  return WithReason(absl::FailedPreconditionError(
                        absl::StrCat("the input of '", name, "' cannot be exported: ", why,
                                     "; with omit_input, the configuration and the result can")),
                    reason::kInputNotKept, {{"session", std::string(name)}});
}

// Whether the server has the session's input.
absl::Status CheckInput(const Session& session) {
  if (session.files() == nullptr) {
    return InputNotKept(session.name(), "the server keeps none without --state-dir");
  }
  if (session.ended() && !session.requested().keep_input()) {
    return InputNotKept(session.name(),
                        "it has been removed with the end of the session, which was not created "
                        "with keep_input");
  }
  return absl::OkStatus();
}

}  // namespace

grpc::ServerWriteReactor<v1::ExportStateResponse>* ExportStateStream::Start(
    const Call& call, const v1::ExportStateRequest& request) {
  auto session = call.Find(request.name());
  if (!session.ok()) return new RefusedStream<v1::ExportStateResponse>(session.status());
  if (!request.omit_input()) {
    const absl::Status checked = CheckInput(**session);
    if (!checked.ok()) return new RefusedStream<v1::ExportStateResponse>(checked);
  }
  return Launch(std::shared_ptr<ExportStateStream>(
      new ExportStateStream(call, *std::move(session), request)));
}

ExportStateStream::ExportStateStream(const Call& call, std::shared_ptr<Session> session,
                                     const v1::ExportStateRequest& request)
    : PushStream(call), session_(std::move(session)), request_(request) {}

bool ExportStateStream::waiting() {
  MutexLock lock(answer_mu_);
  return waiting_;
}

template <typename T>
std::function<void(T)> ExportStateStream::AwaitInto(T ExportStateStream::*answer) {
  MutexLock lock(answer_mu_);
  waiting_ = true;
  return [weak = weak_from_this(), this, answer](T value) {
    const auto self = weak.lock();
    if (self == nullptr) return;
    {
      MutexLock answer_lock(answer_mu_);
      this->*answer = std::move(value);
      waiting_ = false;
    }
    OnSessionChange();
  };
}

void ExportStateStream::AskForCheckpoint() {
  if (request_.omit_run()) return;
  session_->reconstruction().MakeCheckpoint(AwaitInto(&ExportStateStream::checkpoint_));
}

void ExportStateStream::AskForInput() {
  const auto& journal = session_->journal();
  if (request_.omit_input() || journal == nullptr) return;
  last_sequence_ = journal->last_sequence();
  journal->WhenDurable(last_sequence_, AwaitInto(&ExportStateStream::durable_));
}

absl::Status ExportStateStream::Begin() {
  std::shared_ptr<const Checkpoint> checkpoint;
  {
    MutexLock lock(answer_mu_);
    // It may have ended meanwhile, and then the journal's end does not matter any more.
    if (!durable_.ok() && !session_->ended()) {
      return InputNotKept(session_->name(), durable_.message());
    }
    checkpoint = std::move(checkpoint_);
  }
  if (!request_.omit_input()) PS_RETURN_IF_ERROR(CheckInput(*session_));
  if (checkpoint == nullptr && !request_.omit_run()) {
    // The session has ended, or has not iterated since it was taken up.
    const auto latest = session_->reconstruction().latest_snapshot();
    if (latest != nullptr) checkpoint = CheckpointOf(latest);
  }
  std::unique_ptr<JournalReader> journal;
  if (!request_.omit_input()) {
    journal = std::make_unique<JournalReader>(session_->files()->JournalSegments(), session_->id());
    // One that had ended before the server was started has nothing more to come.
    if (session_->journal() == nullptr) last_sequence_ = std::numeric_limits<std::uint64_t>::max();
  }
  export_.emplace(ManifestOf(session_->id(), session_->requested(), session_->create_time()),
                  std::move(checkpoint), std::move(journal), last_sequence_);
  return absl::OkStatus();
}

ExportStateStream::Step ExportStateStream::Next(v1::ExportStateResponse& response) {
  if (stage_ == Stage::kCreated) {
    stage_ = Stage::kCheckpoint;
    AskForCheckpoint();
  }
  if (waiting()) return Step::Wait();
  if (stage_ == Stage::kCheckpoint) {
    stage_ = Stage::kInput;
    AskForInput();
  }
  if (waiting()) return Step::Wait();
  if (stage_ == Stage::kInput) {
    stage_ = Stage::kSending;
    if (const absl::Status begun = Begin(); !begun.ok()) return Step::Finish(begun);
  }
  if (const absl::Status read = export_->Next(kPartBytes, response.mutable_data()); !read.ok()) {
    return Step::Finish(read);
  }
  return response.data().empty() ? Step::Finish(absl::OkStatus()) : Step::Write();
}

}  // namespace ptychoserve::server
