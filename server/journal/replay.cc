#include "server/journal/replay.h"

#include <grpcpp/support/slice.h>

#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "engine/base/status_macros.h"
#include "server/ingest/feed.h"
#include "server/service/handlers.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {
namespace {

// Waits until `notify` runs what it is given.
void Await(const std::function<void(std::function<void()>)>& notify) {
  const auto ready = std::make_shared<std::promise<void>>();  // Shared: it is set as it is left.
  notify([ready] { ready->set_value(); });
  ready->get_future().wait();
}

}  // namespace

void Replay::Take(const Record& record) {
  ++records_;
  std::vector<ClosedRange> ids;
  absl::Status taken;
  switch (static_cast<RecordKind>(record.kind)) {
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
  if (from_ == From::kItsJournal) {
    session_.journal()->NoteReplayed(static_cast<RecordKind>(record.kind), record.sequence, ids);
  } else if (taken.ok()) {
    Append(record, std::move(ids));
  }
  if (taken.ok()) return;
  if (refused_++ == 0) {
    Log(LogLevel::kWarning, "a record of input cannot be used",
        {{"session", session_.id()},
         {"sequence", record.sequence},
         {"reason", std::string(taken.message())}});
  }
}

void Replay::Append(const Record& record, std::vector<ClosedRange> ids) {
  const auto& journal = session_.journal();
  if (journal == nullptr || record.kind == static_cast<std::uint32_t>(RecordKind::kEvent)) return;
  if (journal->full()) {
    Await([&](std::function<void()> ready) { journal->NotifyWhenRoom(std::move(ready)); });
  }
  const grpc::Slice bytes(record.payload.data(), record.payload.size());
  journal->Append(static_cast<RecordKind>(record.kind), grpc::ByteBuffer(&bytes, 1),
                  std::move(ids));
}

absl::Status Replay::TakeFrames(std::span<const std::byte> bytes, std::vector<ClosedRange>* ids) {
  FrameMessage message;
  if (!ParseFrameMessage(ByteChain(bytes), &message)) {
    return absl::DataLossError("not a StreamFramesRequest");
  }
  Reconstruction& reconstruction = session_.reconstruction();
  int next_frame = 0;
  while (true) {
    PS_ASSIGN_OR_RETURN(const bool done, FeedFrames(message, reconstruction, &next_frame));
    if (done) break;
    Await([&](std::function<void()> ready) { reconstruction.NotifyWhenSpace(std::move(ready)); });
  }
  *ids = IdsOf(message.request);
  return absl::OkStatus();
}

absl::Status Replay::TakePositions(std::span<const std::byte> bytes,
                                   std::vector<ClosedRange>* ids) {
  v1::StreamPositionsRequest message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::DataLossError("not a StreamPositionsRequest");
  }
  PS_RETURN_IF_ERROR(FeedPositions(message, session_.reconstruction()));
  *ids = IdsOf(message);
  return absl::OkStatus();
}

absl::Status Replay::TakeEvent(std::span<const std::byte> bytes) {
  state::v1::Event event;
  if (!event.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::DataLossError("not an Event");
  }
  if (event.has_producer() && from_ == From::kItsJournal) {
    const state::v1::Producer& producer = event.producer();
    session_.producers().Restore(
        producer.positions() ? RecordKind::kPositions : RecordKind::kFrames, producer.id(),
        producer.epoch());
  }
  restarts_ += event.has_restart();
  events_.push_back(std::move(event));
  return absl::OkStatus();
}

void Replay::ApplyUpdates() {
  for (const state::v1::Event& event : events_) {
    if (!event.has_update()) continue;
    ApplyUpdate(session_, event.update()).IgnoreError();
    if (from_ == From::kElsewhere) session_.Record(event, [] {});
  }
}

void Replay::AwaitDurable() const {
  const auto& journal = session_.journal();
  if (journal == nullptr) return;
  Await([&](const std::function<void()>& ready) {
    journal->WhenDurable(journal->last_sequence(), [ready](const absl::Status&) { ready(); });
  });
}

void Replay::ApplyEnds(bool stops) {
  Reconstruction& reconstruction = session_.reconstruction();
  for (const state::v1::Event& event : events_) {
    const bool applies = event.has_finish_scan() || (event.has_stop() && stops);
    if (applies && from_ == From::kElsewhere) session_.Record(event, [] {});
    if (event.has_finish_scan()) {
      const v1::FinishScanRequest& finish = event.finish_scan();
      reconstruction
          .FinishScan(finish.has_expected_frames() ? std::optional(finish.expected_frames())
                                                   : std::nullopt)
          .IgnoreError();
    }
    if (event.has_stop() && stops) {
      reconstruction.Stop(event.stop().mode() == v1::StopSessionRequest::MODE_ABORT).IgnoreError();
    }
  }
}

}  // namespace ptychoserve::server
