#ifndef PTYCHOSERVE_SERVER_INGEST_ACK_POLICY_H_
#define PTYCHOSERVE_SERVER_INGEST_ACK_POLICY_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

namespace ptychoserve::server {

// When a stream acknowledges, and how much it lets the client send. Acknowledgements are driven by
// credit: one is due as soon as a quarter of the window has been used up, so that a client that
// sends up to its grant is never left waiting for one that waits for it; otherwise they are held
// back for kInterval and say several things at once. Not thread-safe.
class AckPolicy {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::milliseconds kInterval{50};
  static constexpr int kWindowFraction = 4;

  // Payload of one more batch has been dealt with.
  void Add(std::int64_t payload_bytes) {
    payload_bytes_ += payload_bytes;
    owed_ = true;
  }
  void Owe() { owed_ = true; }
  bool owed() const { return owed_; }

  // Whether what is owed must be sent at `now`; else until when it may wait.
  std::optional<TimePoint> WaitUntil(TimePoint now) const {
    if (payload_bytes_ - sent_bytes_ >= window_ / kWindowFraction) return std::nullopt;
    if (now >= sent_at_ + kInterval) return std::nullopt;
    return sent_at_ + kInterval;
  }

  // An acknowledgement is sent at `now`; `window` bytes may be under way from here on.
  void Sent(TimePoint now, std::int64_t window) {
    owed_ = false;
    sent_at_ = now;
    sent_bytes_ = payload_bytes_;
    window_ = window;
    granted_bytes_ = std::max(granted_bytes_, payload_bytes_ + window);
  }

  std::int64_t payload_bytes() const { return payload_bytes_; }
  std::int64_t granted_bytes() const { return granted_bytes_; }  // Only grows.

 private:
  bool owed_ = false;
  TimePoint sent_at_{};
  std::int64_t payload_bytes_ = 0;
  std::int64_t sent_bytes_ = 0;
  std::int64_t window_ = 0;
  std::int64_t granted_bytes_ = 0;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_INGEST_ACK_POLICY_H_
