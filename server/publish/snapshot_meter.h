#ifndef PTYCHOSERVE_SERVER_PUBLISH_SNAPSHOT_METER_H_
#define PTYCHOSERVE_SERVER_PUBLISH_SNAPSHOT_METER_H_

#include <chrono>
#include <memory>
#include <optional>
#include <span>

#include "server/publish/arrays.h"
#include "server/service/call.h"

namespace ptychoserve::server {

// Counts the snapshots, and the frames, that one call sends, for the metrics and for what its
// tenant may have a second. Not thread-safe.
class SnapshotMeter {
 public:
  using Clock = std::chrono::steady_clock;

  explicit SnapshotMeter(const Call& call)
      : metrics_(call.core.metrics), rates_(call.core.access->RatesOf(call.caller.tenant)) {}

  // When the next one may be sent, when that is not now.
  std::optional<Clock::time_point> WaitUntil(Clock::time_point now) {
    const Clock::duration wait = rates_->snapshots.Wait(now);
    if (wait <= Clock::duration::zero()) return std::nullopt;
    metrics_.snapshots_paused_s.Increment(std::chrono::duration<double>(wait).count());
    return now + wait;
  }
  void Count(std::span<const PreparedArray> arrays, Clock::time_point now) {
    rates_->snapshots.Take(1, now);
    metrics_.snapshots_sent.Increment();
    double bytes = 0;
    for (const auto& array : arrays) bytes += static_cast<double>(array.bytes.size());
    metrics_.snapshot_bytes.Increment(bytes);
  }

 private:
  Metrics& metrics_;
  const std::shared_ptr<TenantRates> rates_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_PUBLISH_SNAPSHOT_METER_H_
