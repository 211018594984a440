#include "server/server.h"

#include <grpcpp/health_check_service_interface.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/physical_memory.h"
#include "engine/base/status_macros.h"
#include "engine/base/version.h"
#include "server/base/address.h"
#include "server/device/make_devices.h"
#include "server/journal/recovery.h"
#include "server/listen.h"
#include "server/telemetry/call_observer.h"
#include "server/telemetry/log.h"
#include "server/telemetry/server_gauges.h"

namespace ptychoserve::server {
namespace {

constexpr std::chrono::hours kExpiryInterval{1};

int HalfOfTheCores(int least, int most) {
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()) / 2, least, most);
}

int IngestWorkers(int asked) {
  constexpr int kLeast = 2, kMost = 16;
  return asked > 0 ? asked : HalfOfTheCores(kLeast, kMost);
}

// One writes little more than a gigabyte a second into the system's memory. At least as many as let
// a disk that takes its time to synchronise have work meanwhile.
int JournalThreads() {
  constexpr int kLeast = 4, kMost = 16;
  return HalfOfTheCores(kLeast, kMost);
}

std::int64_t HostBytes(std::uint64_t asked) {
  if (asked > 0) return static_cast<std::int64_t>(asked);
  return PhysicalMemoryBytes() / 2;
}

CoreLimits LimitsFrom(const ServerOptions& options) {
  CoreLimits limits;
  limits.max_sessions = options.max_sessions;
  limits.max_streams = options.max_streams;
  limits.host_bytes = HostBytes(options.host_memory_limit);
  limits.max_message_bytes = static_cast<std::int64_t>(options.max_message_bytes);
  limits.session.staging_bytes = static_cast<std::int64_t>(options.staging_bytes);
  limits.session.checkpoint_interval = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::duration<double>(options.checkpoint_interval_s));
  limits.session.checkpoint_wave_bytes = static_cast<std::int64_t>(options.checkpoint_wave_bytes);
  limits.ingest_workers = IngestWorkers(options.ingest_workers);
  limits.journal_threads = JournalThreads();
  limits.open_timeout = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::duration<double>(options.open_timeout_s));
  return limits;
}

// Whole or not at all, for scripts that wait for the file.
absl::Status WritePortFile(const std::string& path, const std::string& text) {
  const std::string temporary = absl::StrCat(path, ".tmp");
  {
    std::ofstream file(temporary, std::ios::trunc);
    file << text << "\n";
    if (!file.flush()) {
      return absl::InvalidArgumentError(absl::StrCat("cannot write the port file ", temporary));
    }
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    return absl::InvalidArgumentError(absl::StrCat("cannot write the port file ", path));
  }
  return absl::OkStatus();
}

// Waits for things that are done on other threads, at any time, even after nobody waits any more.
class Countdown {
 public:
  void Add(int count) {
    MutexLock lock(state_->mu);
    state_->left += count;
  }
  void Done() const {
    MutexLock lock(state_->mu);
    --state_->left;
    state_->done.NotifyAll();
  }
  // How many are left at the deadline.
  int Wait(std::chrono::steady_clock::time_point deadline) const {
    MutexLock lock(state_->mu);
    while (state_->left > 0) {
      const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      if (rest <= std::chrono::milliseconds::zero()) break;
      state_->done.WaitFor(state_->mu, rest);
    }
    return state_->left;
  }

 private:
  struct State {
    Mutex mu;
    CondVar done;
    int left ABSL_GUARDED_BY(mu) = 0;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                      std::function<void()> on_device_lost) {
  PS_RETURN_IF_ERROR(CheckOptions(options));
  PS_ASSIGN_OR_RETURN(auto access, Access::Create(options.access_file));
  PS_ASSIGN_OR_RETURN(auto audit, AuditLog::Open(options.audit_log));
  PS_ASSIGN_OR_RETURN(auto devices, MakeDevices(options));
  std::unique_ptr<StateDirectory> state;
  if (!options.state_dir.empty()) {
    PS_ASSIGN_OR_RETURN(state, StateDirectory::Open(options.state_dir));
  }
  std::unique_ptr<Server> server(new Server(options, std::move(devices), std::move(state),
                                            std::move(access), std::move(audit), on_device_lost));
  for (const auto& serving : server->core_.devices.devices()) {
    Log(LogLevel::kInfo, "device",
        {{"name", serving->device->name()},
         {"description", serving->device->description()},
         {"usable_bytes", serving->memory.usable_bytes()}});
  }
  // First, so that whoever waits for it sees a server that is alive, and not ready.
  PS_RETURN_IF_ERROR(server->ServeHttp());
  if (server->core_.state != nullptr) {
    RecoverSessions(server->core_);
    if (options.retention_h > 0) server->DeleteExpired();
  }
  PS_RETURN_IF_ERROR(server->ServeGrpc());
  return server;
}

Server::Server(const ServerOptions& options, std::vector<std::unique_ptr<Device>> devices,
               std::unique_ptr<StateDirectory> state, std::unique_ptr<Access> access,
               std::unique_ptr<AuditLog> audit, const std::function<void()>& on_device_lost)
    : options_(options),
      audit_(std::move(audit)),
      core_(std::move(devices), LimitsFrom(options), std::move(state), std::move(access),
            on_device_lost),
      service_(core_) {}

Server::~Server() { Shutdown(); }

absl::Status Server::ServeGrpc() {
  PS_ASSIGN_OR_RETURN(Listening listening, Listen(options_, &service_,
                                                  std::make_unique<CallObserver>(
                                                      core_.metrics, *core_.access, *audit_)));
  tls_ = std::move(listening.tls);
  grpc_ = std::move(listening.server);
  listening_ = true;
  const std::string addresses = absl::StrJoin(listening.addresses, "\n");
  if (!options_.port_file.empty()) {
    PS_RETURN_IF_ERROR(WritePortFile(options_.port_file, addresses));
  }
  for (const std::string& address : listening.addresses) {
    const bool encrypted = options_.tls.enabled() && !IsUnixAddress(address);
    Log(LogLevel::kInfo, absl::StrCat("listening on ", address),
        {{"version", kVersion},
         {"tls", encrypted ? "yes" : "no"},
         {"access", core_.access->open_to_all() ? "everybody" : "by access file"}});
  }
  return absl::OkStatus();
}

absl::Status Server::ServeHttp() {
  if (options_.metrics_listen.empty()) return absl::OkStatus();
  HttpEndpoint::Sources sources;
  sources.metrics = {core_.metrics.registry(), std::make_shared<ServerGauges>(core_)};
  sources.healthy = [this] { return Healthy(); };
  sources.ready = [this] { return Ready(); };
  PS_ASSIGN_OR_RETURN(http_, HttpEndpoint::Start(options_.metrics_listen, std::move(sources)));
  Log(LogLevel::kInfo, absl::StrCat("metrics on http://", http_->address(), "/metrics"));
  if (options_.metrics_port_file.empty()) return absl::OkStatus();
  return WritePortFile(options_.metrics_port_file, http_->address());
}

absl::Status Server::Healthy() const {
  for (const auto& serving : core_.devices.devices()) {
    if (serving->lost()) {
      return absl::UnavailableError(absl::StrCat(serving->device->name(), " is lost"));
    }
  }
  return absl::OkStatus();
}

absl::Status Server::Ready() const {
  PS_RETURN_IF_ERROR(Healthy());
  if (!listening_) return absl::UnavailableError("sessions are being taken up");
  if (core_.draining) return absl::UnavailableError("shutting down");
  if (core_.state != nullptr && access(core_.state->path().c_str(), W_OK) != 0) {
    return absl::UnavailableError(
        absl::StrCat("--state-dir ", core_.state->path(), " cannot be written to"));
  }
  return absl::OkStatus();
}

absl::Status Server::Reload() {
  // Each, whatever becomes of the other.
  absl::Status status = core_.access->Reload();
  status.Update(audit_->Reopen());
  return status;
}

void Server::DeleteExpired() {
  const auto age = std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double, std::ratio<3600>>(options_.retention_h));
  for (const auto& session : core_.sessions.All()) {
    const auto since_end = session->SinceEnd();
    if (!since_end || *since_end < age) continue;
    if (!core_.sessions.Remove(session->key().tenant, session->name(), /*force=*/false).ok())
      continue;
    Log(LogLevel::kInfo, "session deleted, as it ended long ago", {{"session", session->id()}});
    session->Discard([] {});
  }
  MutexLock lock(expiry_mu_);
  if (!ending_) {
    expiry_.After(kExpiryInterval, [this] { core_.admin.Post([this] { DeleteExpired(); }); });
  }
}

void Server::SaveSessions(std::chrono::steady_clock::time_point deadline) {
  Countdown countdown;
  for (const auto& session : core_.sessions.All()) {
    if (session->journal() == nullptr) continue;
    if (session->ended()) {
      countdown.Add(1);
      session->AfterInput([countdown] { countdown.Done(); });
      continue;
    }
    countdown.Add(2);
    session->Suspend([countdown] { countdown.Done(); });
    session->journal()->WhenDurable(session->journal()->last_sequence(),
                                    [countdown](const absl::Status&) { countdown.Done(); });
  }
  const int left = countdown.Wait(deadline);
  std::vector<std::string> lost;
  for (const auto& session : core_.sessions.All()) {
    if (session->journal() != nullptr && session->journal()->lost()) lost.push_back(session->id());
  }
  if (left > 0 || !lost.empty()) {
    Log(LogLevel::kError, "not all that was acknowledged is on disk",
        {{"writes_under_way", left}, {"sessions", absl::StrJoin(lost, ",")}});
  }
}

void Server::StopSessions(std::chrono::steady_clock::time_point deadline) {
  Countdown countdown;
  for (const auto& session : core_.sessions.All()) {
    if (session->journal() != nullptr) continue;  // Goes on when there is a server again.
    session->reconstruction().Stop(/*abort=*/false).IgnoreError();  // It may have ended already.
    countdown.Add(1);
    session->WhenRetired([countdown] { countdown.Done(); });
  }
  if (const int left = countdown.Wait(deadline); left > 0) {
    Log(LogLevel::kWarning, "sessions did not stop in time", {{"sessions", left}});
  }
}

void Server::Shutdown() {
  if (grpc_ == nullptr) return;
  const auto timeout = std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(options_.shutdown_timeout_s));
  const auto begin = std::chrono::steady_clock::now();
  Log(LogLevel::kInfo, "shutting down",
      {{"sessions", core_.sessions.All().size()},
       {"streams", core_.streams.open(Drainable::Kind::kIngest) +
                       core_.streams.open(Drainable::Kind::kPublish)}});

  {
    MutexLock lock(expiry_mu_);
    ending_ = true;
    expiry_.Cancel();
  }
  core_.draining = true;
  grpc_->GetHealthCheckService()->Shutdown();  // Everything is NOT_SERVING from here on.
  core_.sessions.Close();
  core_.streams.DrainAll(Drainable::Kind::kIngest);
  StopSessions(begin + timeout / 2);
  SaveSessions(begin + timeout / 2);
  // Watchers of a stopped session get its last snapshot and state, and end by themselves.
  core_.streams.DrainAll(Drainable::Kind::kPublish);
  const auto left = std::max(begin + timeout - std::chrono::steady_clock::now(),
                             std::chrono::steady_clock::duration::zero());
  // Cancels what has not finished by then; each reactor finishes when it is cancelled.
  grpc_->Shutdown(std::chrono::system_clock::now() +
                  std::chrono::duration_cast<std::chrono::system_clock::duration>(left));
  grpc_->Wait();
  grpc_.reset();
  Log(LogLevel::kInfo, "stopped",
      {{"seconds",
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()}});
}

}  // namespace ptychoserve::server
