#ifndef PTYCHOSERVE_SERVER_SERVICE_CORE_H_
#define PTYCHOSERVE_SERVER_SERVICE_CORE_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "engine/backend/backend.h"
#include "server/base/worker_pool.h"
#include "server/device/device_set.h"
#include "server/journal/session_files.h"
#include "server/security/access.h"
#include "server/service/stream_set.h"
#include "server/session/session_registry.h"
#include "server/telemetry/metrics.h"

namespace ptychoserve::server {

struct CoreLimits {
  static constexpr int kMaxStreamsPerConnection = 256;
  static constexpr int kMaxMetadataBytes = 16 << 10;

  int max_sessions = 64;
  int max_streams = 1024;
  std::int64_t host_bytes = std::int64_t{1} << 40;  // Staging memory of all sessions.
  std::int64_t max_message_bytes = 32 << 20;
  SessionLimits session;
  int ingest_workers = 4;
  int journal_threads = 4;
  std::chrono::milliseconds open_timeout{10'000};  // For the first message of an input stream.
};

// What all calls share. Every member is thread-safe. Outlives the gRPC server: the pools must
// take tasks until the last call has finished, or that call would never finish.
struct Core {
  // `state_in` is null when nothing is to be kept on disk; `on_device_lost`: see DeviceSet.
  Core(std::vector<std::unique_ptr<Device>> devices_in, const CoreLimits& limits_in,
       std::unique_ptr<StateDirectory> state_in, std::unique_ptr<Access> access_in,
       const std::function<void()>& on_device_lost)
      : limits(limits_in),
        state(std::move(state_in)),
        access(std::move(access_in)),
        admin(1),
        journal(limits_in.journal_threads),
        files(1),
        publish(kPublishThreads),
        ingest(limits_in.ingest_workers),
        imports(1),
        leisure(1),
        devices(std::move(devices_in), limits_in.host_bytes, on_device_lost),
        sessions(limits_in.max_sessions),
        streams(limits_in.max_streams) {}

  // Stops what still runs, in the order in which it depends on each other.
  ~Core() {
    imports.Stop();
    ingest.Stop();
    admin.Stop();
    devices.Stop();
    leisure.Stop();
    publish.Stop();
    files.Stop();
    journal.Stop();
  }
  SessionPools pools() { return {publish, journal, files, leisure, &metrics}; }

  static constexpr int kPublishThreads = 2;

  const CoreLimits limits;
  const std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  const std::unique_ptr<StateDirectory> state;
  const std::unique_ptr<Access> access;
  Metrics metrics;
  std::atomic<bool> draining = false;  // The server shuts down.
  WorkerPool admin;    // Creates and deletes sessions: device memory, one at a time.
  WorkerPool journal;  // Writes input to disk: a disk never takes another's threads.
  WorkerPool files;    // Writes checkpoints and results.
  WorkerPool publish;  // Snapshots, events: dashboards never take a detector's threads.
  WorkerPool ingest;   // Decodes frames.
  WorkerPool imports;  // Takes whole sessions in, one after the other.
  WorkerPool leisure;  // Compares reconstructions.
  DeviceSet devices;
  SessionRegistry sessions;
  StreamSet streams;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SERVICE_CORE_H_
