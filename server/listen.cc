#include "server/listen.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/impl/server_builder_plugin.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status_macros.h"
#include "ptychoserve/v1/service.grpc.pb.h"
#include "server/base/address.h"
#include "server/security/tls_watch.h"
#include "server/service/core.h"

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

// Nobody else may connect to a Unix socket before its permissions are set.
class PrivateFiles {
 public:
  PrivateFiles() : before_(umask(S_IRWXG | S_IRWXO)) {}
  ~PrivateFiles() { umask(before_); }
  PrivateFiles(const PrivateFiles&) = delete;
  PrivateFiles& operator=(const PrivateFiles&) = delete;

 private:
  const mode_t before_;
};

void SetLimits(const ServerOptions& options, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(static_cast<int>(options.max_message_bytes));
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
}

// With the port that was found, when any would do.
std::string BoundAddress(const std::string& address, int port) {
  if (IsUnixAddress(address)) return address;
  return absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
}

absl::Status SetPermissions(const std::string& address, std::uint32_t mode) {
  const std::string path = address.substr(address.find(':') + 1);
  if (chmod(path.c_str(), mode) == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("--socket-mode: ", path, ": ", std::strerror(errno)));
}

}  // namespace

absl::StatusOr<Listening> Listen(
    const ServerOptions& options, grpc::Service* service,
    std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> observer) {
  SetPlugins();
  grpc::ServerBuilder builder;
  if (!options.reflection.value_or(options.access_file.empty())) {
    builder.SetOption(std::make_unique<WithoutReflection>());
  }
  Listening listening;
  auto credentials = grpc::InsecureServerCredentials();
  if (options.tls.enabled()) {
    PS_ASSIGN_OR_RETURN(listening.tls, TlsWatch::Start(options.tls));
    credentials = listening.tls->credentials();
  }
  std::vector<int> ports(options.listen.size(), -1);
  for (std::size_t k = 0; k < options.listen.size(); ++k) {
    const bool local = IsUnixAddress(options.listen[k]);
    builder.AddListeningPort(options.listen[k],
                             local ? grpc::InsecureServerCredentials() : credentials, &ports[k]);
  }
  builder.RegisterService(service);
  SetLimits(options, builder);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> observers;
  observers.push_back(std::move(observer));
  builder.experimental().SetInterceptorCreators(std::move(observers));

  {
    const PrivateFiles here;
    listening.server = builder.BuildAndStart();
  }
  for (std::size_t k = 0; k < ports.size(); ++k) {
    const std::string& address = options.listen[k];
    if (listening.server == nullptr || (!IsUnixAddress(address) && ports[k] <= 0)) {
      return absl::UnavailableError(absl::StrCat("cannot listen on ",
                                                 absl::StrJoin(options.listen, ", "),
                                                 ": an address is in use, or not of this machine"));
    }
    listening.addresses.push_back(BoundAddress(address, ports[k]));
    if (!IsUnixAddress(address)) continue;
    if (const absl::Status set = SetPermissions(address, options.socket_mode); !set.ok())
      return set;
  }
  listening.server->GetHealthCheckService()->SetServingStatus(v1::Ptychoserve::service_full_name(),
                                                              true);
  return listening;
}

}  // namespace ptychoserve::server
