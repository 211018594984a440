#ifndef PTYCHOSERVE_TESTS_UNIT_CLIENT_CPP_FAKE_INGEST_H_
#define PTYCHOSERVE_TESTS_UNIT_CLIENT_CPP_FAKE_INGEST_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/client/cpp/fake_service.h"

namespace ptychoserve::client {

// The frames of one session as a server takes them in (ingest.proto), with the faults that a test
// asks for. Outlives services, so that these can be restarted. Thread-safe but for
// what is set before the first stream.
class FakeIngest {
 public:
  using Stream = FakeService::FrameStream;

  v1::Durability durability = v1::DURABILITY_MEMORY;
  std::int64_t credit = 1 << 20;                 // Beyond what has arrived.
  std::atomic<bool> acknowledge_batches = true;  // Not only the opening and the end.
  std::atomic<bool> sync_at_end = true;  // What a stream has brought is on disk before its end.
  // Called with the number of the stream and of the batch, from 0 on, before it is taken in and
  // after that, before it is acknowledged. An error ends the stream so.
  using Fault = std::function<std::optional<grpc::Status>(int stream, int batch)>;
  Fault before, after;
  // Changes the first acknowledgement of a stream.
  std::function<void(int stream, v1::IngestAck&)> first_ack;

  void Register(FakeService& service) {
    service.frames = [this](Stream* stream) { return Serve(stream); };
  }

  // What has arrived is on disk; the streams are told.
  void Sync() {
    std::lock_guard lock(mu_);
    SyncLocked();
    for (Live* live : live_) Acknowledge(*live);
  }
  // The memory of the server is lost, and with it the streams.
  void Crash() {
    std::lock_guard lock(mu_);
    arrived_ = durable_;
    for (Live* live : live_) live->lost = true;
    live_.clear();
  }

  std::map<std::int64_t, unsigned char> arrived() const { return Locked(arrived_); }
  std::vector<std::int64_t> skipped() const { return Locked(skipped_); }
  std::vector<v1::OpenStream> opens() const { return Locked(opens_); }
  // Ids of the frames in the order in which they came, stream by stream.
  std::vector<std::vector<std::int64_t>> sent() const { return Locked(sent_); }
  std::int64_t duplicates() const { return Locked(duplicates_); }
  int streams() const { return static_cast<int>(opens().size()); }

 private:
  struct Live {
    Stream* stream;
    std::int64_t batches = 0, bytes = 0, durable = 0;
    bool clean = true;  // All that came before it is on disk.
    bool lost = false;  // In a crash.
  };

  template <class T>
  T Locked(const T& value) const {
    std::lock_guard lock(mu_);
    return value;
  }

  static grpc::Status Lost() { return {grpc::StatusCode::UNAVAILABLE, "the server has crashed"}; }

  grpc::Status Serve(Stream* stream) {
    v1::StreamFramesRequest request;
    if (!stream->Read(&request) || !request.has_open()) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "no open"};
    }
    Live live{stream};
    int number = 0;
    {
      std::lock_guard lock(mu_);
      std::uint64_t& last = epochs_[request.open().producer()];
      if (request.open().epoch() <= last) return {grpc::StatusCode::ABORTED, "fenced"};
      last = request.open().epoch();
      number = static_cast<int>(opens_.size());
      opens_.push_back(request.open());
      sent_.emplace_back();
      live.clean = arrived_ == durable_;
      live_.insert(&live);
      v1::IngestAck ack = AckOf(live);
      Tell(ack);
      if (first_ack) first_ack(number, ack);
      stream->Write(ack);
    }
    const grpc::Status status = Take(live, number);
    std::lock_guard lock(mu_);
    live_.erase(&live);
    return status;
  }

  grpc::Status Take(Live& live, int number) {
    v1::StreamFramesRequest request;
    while (live.stream->Read(&request)) {
      const int batch = static_cast<int>(live.batches);
      if (const auto status = before ? before(number, batch) : std::nullopt) return *status;
      {
        std::lock_guard lock(mu_);
        if (live.lost) return Lost();
        TakeIn(request, sent_[static_cast<std::size_t>(number)]);
        ++live.batches;
        live.bytes += static_cast<std::int64_t>(request.batch().data().size());
      }
      if (const auto status = after ? after(number, batch) : std::nullopt) return *status;
      std::lock_guard lock(mu_);
      if (live.lost) return Lost();
      if (acknowledge_batches) Acknowledge(live);
    }
    std::lock_guard lock(mu_);
    if (live.lost) return Lost();
    if (sync_at_end) SyncLocked();
    Acknowledge(live);
    return grpc::Status::OK;
  }

  void TakeIn(const v1::StreamFramesRequest& request, std::vector<std::int64_t>& sent) {
    if (request.has_skipped()) {
      const v1::SkippedFrames& skipped = request.skipped();
      for (std::int64_t k = 0; k < skipped.count(); ++k) {
        const std::int64_t id = skipped.first_frame_id() + k;
        if (!arrived_.try_emplace(id, 0).second) ++duplicates_;
        skipped_.push_back(id);
      }
      return;
    }
    const v1::FrameBatch& batch = request.batch();
    const std::size_t bytes = batch.data().size() / batch.count();
    for (std::uint32_t k = 0; k < batch.count(); ++k) {
      const std::int64_t id = batch.frame_ids().empty() ? batch.first_frame_id() + k
                                                        : batch.frame_ids(static_cast<int>(k));
      sent.push_back(id);
      const auto value = static_cast<unsigned char>(batch.data()[k * bytes]);
      if (!arrived_.try_emplace(id, value).second) ++duplicates_;
    }
  }

  void SyncLocked() {
    durable_ = arrived_;
    for (Live* live : live_) {
      live->clean = true;
      live->durable = live->batches;
    }
  }

  v1::IngestAck AckOf(const Live& live) const {
    v1::IngestAck ack;
    ack.set_batches(live.batches);
    ack.set_payload_bytes(live.bytes);
    ack.set_granted_bytes(live.bytes + credit);
    ack.set_max_message_bytes(1 << 20);
    ack.set_state(v1::SESSION_STATE_RECEIVING);
    ack.mutable_counters()->set_accepted(static_cast<std::int64_t>(arrived_.size()));
    ack.set_durability(durability);
    if (durability == v1::DURABILITY_JOURNAL || durability == v1::DURABILITY_LOST) {
      ack.set_durable_batches(live.clean ? live.durable : -1);
    }
    return ack;
  }

  void Acknowledge(const Live& live) { live.stream->Write(AckOf(live)); }

  // What has arrived, and what is missing of it.
  void Tell(v1::IngestAck& ack) const {
    if (durability == v1::DURABILITY_UNSPECIFIED) return;
    ack.set_known_up_to(arrived_.empty() ? -1 : arrived_.rbegin()->first);
    std::int64_t next = 0;
    for (const auto& [id, value] : arrived_) {
      if (id > next) {
        v1::IdRange& range = *ack.add_missing();
        range.set_first(next);
        range.set_last(id - 1);
      }
      next = id + 1;
    }
  }

  mutable std::mutex mu_;
  std::map<std::int64_t, unsigned char> arrived_, durable_;  // First byte of each frame.
  std::vector<std::int64_t> skipped_;
  std::vector<v1::OpenStream> opens_;
  std::vector<std::vector<std::int64_t>> sent_;
  std::map<std::string, std::uint64_t> epochs_;
  std::int64_t duplicates_ = 0;
  std::set<Live*> live_;
};

}  // namespace ptychoserve::client

#endif  // PTYCHOSERVE_TESTS_UNIT_CLIENT_CPP_FAKE_INGEST_H_
