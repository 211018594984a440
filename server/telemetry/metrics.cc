#include "server/telemetry/metrics.h"

namespace ptychoserve::server {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Histogram;
using prometheus::Registry;
using Buckets = Histogram::BucketBoundaries;

Family<Counter>& Counters(Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

Counter& OneCounter(Registry& registry, const char* name, const char* help) {
  return Counters(registry, name, help).Add({});
}

Family<Histogram>& Histograms(Registry& registry, const char* name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

// From a small scan on a GPU to a large one on a CPU.
const Buckets kIterationBuckets = {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1,
                                   0.2,    0.5,   1,     2,     5,    10,   30};
const Buckets kCheckpointBuckets = {0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100};
// From a look-up to a stream that lasts as long as a scan.
const Buckets kCallBuckets = {0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 1000, 10000};

}  // namespace

Metrics::Metrics()
    : sessions_created(OneCounter(*registry_, "ptychoserve_sessions_created_total",
                                  "Sessions created, imported ones included")),
      frames(Counters(*registry_, "ptychoserve_ingest_frames_total",
                      "Frames received, by what became of them")),
      positions(Counters(*registry_, "ptychoserve_ingest_positions_total",
                         "Positions received, by what became of them")),
      ingest_bytes(OneCounter(*registry_, "ptychoserve_ingest_bytes_total",
                              "Payload of frames and positions as sent, bytes")),
      ingest_paused_s(OneCounter(*registry_, "ptychoserve_ingest_paused_seconds_total",
                                 "Time that input streams waited as their tenant's "
                                 "max_ingest_bytes_per_s was used up")),
      snapshots_paused_s(OneCounter(*registry_, "ptychoserve_snapshots_paused_seconds_total",
                                    "Time that snapshots waited as their tenant's "
                                    "max_snapshots_per_s was used up")),
      snapshots_sent(OneCounter(*registry_, "ptychoserve_snapshots_sent_total",
                                "Snapshots that were sent to callers")),
      snapshot_bytes(OneCounter(*registry_, "ptychoserve_snapshot_bytes_total",
                                "Arrays of the snapshots that were sent, bytes")),
      iterations(Counters(*registry_, "ptychoserve_iterations_total",
                          "Iterations of all sessions, by algorithm")),
      rollbacks(OneCounter(*registry_, "ptychoserve_rollbacks_total",
                           "Runs that diverged and went back to a snapshot")),
      admission_rejections(Counters(*registry_, "ptychoserve_admission_rejections_total",
                                    "Sessions that were refused for want of room, by reason")),
      checkpoint_failures(OneCounter(*registry_, "ptychoserve_checkpoint_failures_total",
                                     "Checkpoints and results that could not be written")),
      iteration_s_(
          Histograms(*registry_, "ptychoserve_iteration_seconds",
                     "Duration of an iteration, of those that were looked at: the last one "
                     "each time that a session reports, by algorithm")),
      checkpoint_s_(
          Histograms(*registry_, "ptychoserve_checkpoint_seconds", "Time to write a checkpoint")
              .Add({}, kCheckpointBuckets)),
      calls_(Counters(*registry_, "ptychoserve_grpc_requests_total",
                      "Calls that have ended, by method and status code")),
      call_s_(Histograms(*registry_, "ptychoserve_grpc_request_seconds",
                         "Duration of calls that have ended, by method")) {}

void Metrics::ObserveIteration(const std::string& algorithm, double seconds) {
  iteration_s_.Add({{"algorithm", algorithm}}, kIterationBuckets).Observe(seconds);
}

void Metrics::ObserveCheckpoint(double seconds) { checkpoint_s_.Observe(seconds); }

void Metrics::ObserveCall(const std::string& method, const std::string& code, double seconds) {
  calls_.Add({{"method", method}, {"code", code}}).Increment();
  call_s_.Add({{"method", method}}, kCallBuckets).Observe(seconds);
}

}  // namespace ptychoserve::server
