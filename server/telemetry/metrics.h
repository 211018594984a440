#ifndef PTYCHOSERVE_SERVER_TELEMETRY_METRICS_H_
#define PTYCHOSERVE_SERVER_TELEMETRY_METRICS_H_

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <memory>
#include <string>

namespace ptychoserve::server {

// What is counted as it happens, for Prometheus: totals since the server began. What can be looked
// up when somebody asks is in ServerGauges. docs/monitoring.md lists all of them. Thread-safe.
class Metrics {
  template <class T>
  using Family = prometheus::Family<T>;
  std::shared_ptr<prometheus::Registry> registry_ = std::make_shared<prometheus::Registry>();

 public:
  Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  const std::shared_ptr<prometheus::Registry>& registry() const { return registry_; }

  prometheus::Counter& sessions_created;
  Family<prometheus::Counter>& frames;     // By result: accepted, duplicate, rejected.
  Family<prometheus::Counter>& positions;  // Likewise.
  prometheus::Counter& ingest_bytes;
  prometheus::Counter& ingest_paused_s;
  prometheus::Counter& snapshots_paused_s;
  prometheus::Counter& snapshots_sent;
  prometheus::Counter& snapshot_bytes;
  Family<prometheus::Counter>& iterations;  // By algorithm.
  prometheus::Counter& rollbacks;
  Family<prometheus::Counter>& admission_rejections;  // By reason.
  prometheus::Counter& checkpoint_failures;

  void ObserveIteration(const std::string& algorithm, double seconds);
  void ObserveCheckpoint(double seconds);
  void ObserveCall(const std::string& method, const std::string& code, double seconds);

 private:
  Family<prometheus::Histogram>& iteration_s_;
  prometheus::Histogram& checkpoint_s_;
  Family<prometheus::Counter>& calls_;
  Family<prometheus::Histogram>& call_s_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_TELEMETRY_METRICS_H_
