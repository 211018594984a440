#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/impl/server_builder_plugin.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/base/version.h"
#include "server/device/make_devices.h"
#include "server/journal/recovery.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {
namespace {

// A chunk of a snapshot is 1 MiB; the largest answer is a page of sessions.
constexpr int kMaxSendBytes = 64 << 20;
constexpr int kHandshakeTimeoutMs = 10'000;
// Of a connection without a call; clients connect again when they need to.
constexpr int kConnectionIdleMs = 300'000;
constexpr int kKeepaliveTimeMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 20'000;
// Clients ping every 30 s; the default of 300 s would turn them away with too_many_pings.
constexpr int kMinPingIntervalMs = 15'000;
constexpr int kStreamWindowBytes = 4 << 20;
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
  return std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE) / 2;
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

void SetPlugins() {
  static std::once_flag once;  // gRPC keeps them for the process.
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

// gRPC's shared library turns reflection on by being loaded, so that it has to be taken out.
class WithoutReflection final : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins, [](const auto& p) { return p->name() == "proto_server_reflection"; });
  }
};

// Whole or not at all, for scripts that wait for the file.
absl::Status WritePortFile(const std::string& path, const std::string& address) {
  const std::string temporary = absl::StrCat(path, ".tmp");
  {
    std::ofstream file(temporary, std::ios::trunc);
    file << address << "\n";
    if (!file.flush()) {
      return absl::InvalidArgumentError(absl::StrCat("--port-file: cannot write ", temporary));
    }
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    return absl::InvalidArgumentError(absl::StrCat("--port-file: cannot write ", path));
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
  PS_ASSIGN_OR_RETURN(auto devices, MakeDevices(options));
  std::unique_ptr<StateDirectory> state;
  if (!options.state_dir.empty()) {
    PS_ASSIGN_OR_RETURN(state, StateDirectory::Open(options.state_dir));
  }
  std::unique_ptr<Server> server(
      new Server(options, std::move(devices), std::move(state), on_device_lost));
  for (const auto& serving : server->core_.devices.devices()) {
    Log(LogLevel::kInfo, "device",
        {{"name", serving->device->name()},
         {"description", serving->device->description()},
         {"usable_bytes", serving->memory.usable_bytes()}});
  }
  if (server->core_.state != nullptr) {
    RecoverSessions(server->core_);
    if (options.retention_h > 0) server->DeleteExpired();
  }
  PS_RETURN_IF_ERROR(server->Listen());
  if (!options.port_file.empty()) {
    PS_RETURN_IF_ERROR(WritePortFile(options.port_file, server->address_));
  }
  Log(LogLevel::kInfo, absl::StrCat("listening on ", server->address_), {{"version", kVersion}});
  return server;
}

Server::Server(const ServerOptions& options, std::vector<std::unique_ptr<Device>> devices,
               std::unique_ptr<StateDirectory> state, const std::function<void()>& on_device_lost)
    : options_(options),
      core_(std::move(devices), LimitsFrom(options), std::move(state), on_device_lost),
      service_(core_) {}

Server::~Server() { Shutdown(); }

absl::Status Server::Listen() {
  SetPlugins();
  grpc::ServerBuilder builder;
  if (!options_.reflection) builder.SetOption(std::make_unique<WithoutReflection>());
  int port = -1;
  builder.AddListeningPort(options_.listen, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service_);
  builder.SetMaxReceiveMessageSize(static_cast<int>(options_.max_message_bytes));
  builder.SetMaxSendMessageSize(kMaxSendBytes);
  // Otherwise a second server could share the port silently and get half of the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, CoreLimits::kMaxStreamsPerConnection);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, CoreLimits::kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kConnectionIdleMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Bytes that a stream may have under way before the server asks for them. Otherwise gRPC probes
  // for it, ends up at the same, and until then a detector waits.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kStreamWindowBytes);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kMinPingIntervalMs);
  grpc_ = builder.BuildAndStart();
  const bool unix_socket = absl::StartsWith(options_.listen, "unix:");
  if (grpc_ == nullptr || (!unix_socket && port <= 0)) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", options_.listen,
                                               ": the address is in use, or not of this machine"));
  }
  address_ = unix_socket
                 ? options_.listen
                 : absl::StrCat(options_.listen.substr(0, options_.listen.rfind(':')), ":", port);
  grpc_->GetHealthCheckService()->SetServingStatus(v1::Ptychoserve::service_full_name(), true);
  return absl::OkStatus();
}

void Server::DeleteExpired() {
  const auto age = std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double, std::ratio<3600>>(options_.retention_h));
  for (const auto& session : core_.sessions.All()) {
    const auto since_end = session->SinceEnd();
    if (!since_end || *since_end < age) continue;
    if (!core_.sessions.Remove(session->name(), /*force=*/false).ok()) continue;
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
  if (const int left = countdown.Wait(deadline); left > 0) {
    Log(LogLevel::kWarning, "not all that was acknowledged is on disk", {{"writes", left}});
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
      {{"sessions", core_.sessions.All().size()}, {"streams", core_.streams.open()}});

  {
    MutexLock lock(expiry_mu_);
    ending_ = true;
    expiry_.Cancel();
  }
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
