#ifndef PTYCHOSERVE_SERVER_TELEMETRY_SESSION_METER_H_
#define PTYCHOSERVE_SERVER_TELEMETRY_SESSION_METER_H_

#include <cstdint>

#include "engine/base/mutex.h"
#include "engine/config.h"
#include "engine/solver/progress.h"
#include "server/telemetry/metrics.h"

namespace ptychoserve::server {

// Adds what a session has come to since the last look to the server's totals. Thread-safe.
class SessionMeter {
 public:
  // What it begins with, when it goes on from an earlier server, is no news.
  void Begin(const Progress& progress) ABSL_LOCKS_EXCLUDED(mu_);
  void Note(const ReconstructionConfig& config, const Progress& progress, Metrics& metrics)
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Input {
    std::int64_t accepted = 0;
    std::int64_t duplicates = 0;
    std::int64_t rejected = 0;  // But for duplicates.
  };
  static Input Sort(const IngestCounters& counters);
  static void Add(const Input& now, Input& noted, prometheus::Family<prometheus::Counter>& family);

  Mutex mu_;
  Input frames_ ABSL_GUARDED_BY(mu_);
  Input positions_ ABSL_GUARDED_BY(mu_);
  std::int64_t iteration_ ABSL_GUARDED_BY(mu_) = 0;
  int rollbacks_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_TELEMETRY_SESSION_METER_H_
