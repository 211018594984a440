#include "server/options.h"

#include <arpa/inet.h>

#include <CLI/CLI.hpp>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/version.h"

namespace ptychoserve::server {
namespace {

constexpr char kDescription[] =
    "ptychoserved reconstructs ptychography scans while they are measured: detector frames and\n"
    "positions come in over gRPC, the engine iterates meanwhile, snapshots of object and probe\n"
    "go out. Try it: start ptychoserved, then 'ptychoctl run SCAN.cxi --server 127.0.0.1:50051'.";

constexpr char kFooter[] =
    "Sizes take suffixes: 512MB, 4GB (powers of 1024).\n"
    "Each option can also be given in the flag file (listen = \"127.0.0.1:0\") or as an\n"
    "environment variable (PTYCHOSERVED_LISTEN); the command line comes first, then the flag\n"
    "file, then the environment.\n"
    "SIGTERM or SIGINT ends the server in order: input is acknowledged, sessions stop with their\n"
    "results, or with --state-dir are saved to go on, exit code 0; a second signal ends it at "
    "once.\n"
    "Other exit codes: 1 it could not start, 3 the orderly end took too long, 4 a GPU was lost "
    "and\n"
    "the server is to be started again.";

constexpr std::uint64_t kMinMessageBytes = 1 << 20;
constexpr std::uint64_t kMaxMessageBytes = 1 << 30;
constexpr std::uint64_t kMaxStagingBytes = 1ull << 40;

void AddOptions(CLI::App& app, ServerOptions& o) {
  const auto add = [&](const char* flag, auto& value, const char* env, const char* help) {
    return app.add_option(flag, value, help)->envname(env)->capture_default_str();
  };
  add("--listen", o.listen, "PTYCHOSERVED_LISTEN",
      "Address to listen on, HOST:PORT (port 0: a free one) or unix:PATH")
      ->group("Network");
  app.add_flag("--allow-insecure", o.allow_insecure,
               "Listen on an address other machines can reach, although nothing is encrypted and "
               "anyone can use the server; put a proxy with TLS in front instead")
      ->envname("PTYCHOSERVED_ALLOW_INSECURE")
      ->group("Network");
  add("--port-file", o.port_file, "PTYCHOSERVED_PORT_FILE",
      "File that gets the bound address once the server is ready, for scripts")
      ->group("Network");
  add("--max-message-bytes", o.max_message_bytes, "PTYCHOSERVED_MAX_MESSAGE_BYTES",
      "Largest message that is taken; clients are told")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(kMinMessageBytes, kMaxMessageBytes))
      ->group("Network");
  add("--max-streams", o.max_streams, "PTYCHOSERVED_MAX_STREAMS",
      "Calls that may be open at a time to send input, or to wait for snapshots and events; of one "
      "connection, 256")
      ->check(CLI::Range(1, 100000))
      ->group("Network");
  app.add_option("--reflection", o.reflection, "Let tools list the service's methods: true, false")
      ->envname("PTYCHOSERVED_REFLECTION")
      ->default_str("true")
      ->group("Network");

  add("--device", o.device, "PTYCHOSERVED_DEVICE",
      "Where sessions run: auto (all GPUs, or the CPU when there is none), cpu, cuda, cuda:N")
      ->group("Devices");
  add("--threads", o.threads, "PTYCHOSERVED_THREADS", "Threads of the CPU device; 0: all cores")
      ->check(CLI::Range(0, 1024))
      ->group("Devices");
  add("--cpu-memory-limit", o.cpu_memory_limit, "PTYCHOSERVED_CPU_MEMORY_LIMIT",
      "Bytes that sessions on the CPU may hold in all; 0: three quarters of the memory")
      ->transform(CLI::AsSizeValue(false))
      ->group("Devices");

  add("--max-sessions", o.max_sessions, "PTYCHOSERVED_MAX_SESSIONS",
      "Sessions held at a time, ended ones included")
      ->check(CLI::Range(1, 100000))
      ->group("Sessions");
  add("--staging-bytes", o.staging_bytes, "PTYCHOSERVED_STAGING_BYTES",
      "Host memory of a session for frames on their way to the device")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(kMinMessageBytes, kMaxStagingBytes))
      ->group("Sessions");
  add("--host-memory-limit", o.host_memory_limit, "PTYCHOSERVED_HOST_MEMORY_LIMIT",
      "Host memory of all sessions for frames on their way to the device; 0: half of the memory. A "
      "session that does not fit is refused")
      ->transform(CLI::AsSizeValue(false))
      ->group("Sessions");
  add("--open-timeout-s", o.open_timeout_s, "PTYCHOSERVED_OPEN_TIMEOUT_S",
      "Seconds that an input stream has to say which session it is for")
      ->check(CLI::Range(0.1, 3600.0))
      ->group("Sessions");
  add("--ingest-workers", o.ingest_workers, "PTYCHOSERVED_INGEST_WORKERS",
      "Threads that decode and prepare frames, for all sessions; 0: half of the cores, 2 to 16")
      ->check(CLI::Range(0, 256))
      ->group("Sessions");

  add("--state-dir", o.state_dir, "PTYCHOSERVED_STATE_DIR",
      "Directory where sessions survive the server: their input, the last snapshots, the results. "
      "Without it they live in memory")
      ->group("Durability");
  add("--checkpoint-interval-s", o.checkpoint_interval_s, "PTYCHOSERVED_CHECKPOINT_INTERVAL_S",
      "Seconds between two snapshots of a session that are saved to go on from")
      ->check(CLI::Range(0.1, 86400.0))
      ->group("Durability");
  add("--checkpoint-wave-bytes", o.checkpoint_wave_bytes, "PTYCHOSERVED_CHECKPOINT_WAVE_BYTES",
      "Exit waves of a session that take more are left out of what is saved: a run that was in a "
      "difference map begins it with new ones then, and ends in a slightly different way")
      ->transform(CLI::AsSizeValue(false))
      ->group("Durability");
  add("--retention-h", o.retention_h, "PTYCHOSERVED_RETENTION_H",
      "Hours after which an ended session is deleted; 0: never. With --state-dir only")
      ->check(CLI::Range(0.0, 1e6))
      ->group("Durability");

  add("--shutdown-timeout-s", o.shutdown_timeout_s, "PTYCHOSERVED_SHUTDOWN_TIMEOUT_S",
      "Seconds for an orderly end, after which the process ends with code 3")
      ->check(CLI::Range(1.0, 3600.0))
      ->group("Operation");
  add("--log-level", o.log_level, "PTYCHOSERVED_LOG_LEVEL", "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->group("Operation");
  add("--log-format", o.log_format, "PTYCHOSERVED_LOG_FORMAT",
      "text, or json with one object a line; the log goes to stderr")
      ->check(CLI::IsMember({"text", "json"}))
      ->group("Operation");
}

absl::Status Invalid(absl::string_view option, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("--", option, ": ", what));
}

// "host" of "host:port", brackets of IPv6 removed; false when there is no port.
bool SplitHostPort(absl::string_view listen, absl::string_view& host, int& port) {
  const std::size_t colon = listen.rfind(':');
  if (colon == absl::string_view::npos) return false;
  host = listen.substr(0, colon);
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) {
    host = host.substr(1, host.size() - 2);
  } else if (absl::StrContains(host, ':')) {
    return false;  // An IPv6 address without brackets.
  }
  constexpr int kMaxPort = 65535;
  return absl::SimpleAtoi(listen.substr(colon + 1), &port) && port >= 0 && port <= kMaxPort;
}

}  // namespace

ParsedOptions ParseOptions(int argc, const char* const* argv) {
  ParsedOptions out;
  CLI::App app(kDescription, "ptychoserved");
  app.footer(kFooter);
  app.set_version_flag("--version", absl::StrCat("ptychoserved ", kVersion));
  app.set_config("--flagfile", "", "File of options, one 'name = value' a line")
      ->envname("PTYCHOSERVED_FLAGFILE");
  app.allow_config_extras(CLI::config_extras_mode::error);
  AddOptions(app, out.options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    out.exit = true;
    out.exit_code = app.exit(error);
  }
  return out;
}

bool IsLocalAddress(absl::string_view listen) {
  if (absl::StartsWith(listen, "unix:")) return true;
  absl::string_view host;
  int port = 0;
  if (!SplitHostPort(listen, host, port)) return false;
  if (host == "localhost" || host == "::1") return true;
  // A name may begin with "127.", too.
  in_addr address;
  return absl::StartsWith(host, "127.") &&
         inet_pton(AF_INET, std::string(host).c_str(), &address) == 1;
}

absl::Status CheckOptions(const ServerOptions& options) {
  absl::string_view host;
  int port = 0;
  if (!absl::StartsWith(options.listen, "unix:") &&
      (!SplitHostPort(options.listen, host, port) || host.empty())) {
    return Invalid("listen", absl::StrCat("'", options.listen,
                                          "'; allowed: HOST:PORT, [IPv6]:PORT, unix:PATH"));
  }
  if (!options.allow_insecure && !IsLocalAddress(options.listen)) {
    return Invalid("listen",
                   absl::StrCat("'", options.listen,
                                "' can be reached from other machines, and nothing is encrypted "
                                "or authenticated; listen on 127.0.0.1 behind a proxy with TLS or "
                                "an SSH tunnel, or say --allow-insecure on a trusted network"));
  }
  int number = 0;
  absl::string_view device = options.device;
  const bool numbered =
      absl::ConsumePrefix(&device, "cuda:") && absl::SimpleAtoi(device, &number) && number >= 0;
  if (options.device != "auto" && options.device != "cpu" && options.device != "cuda" &&
      !numbered) {
    return Invalid("device",
                   absl::StrCat("'", options.device, "'; allowed: auto, cpu, cuda, cuda:N"));
  }
  return absl::OkStatus();
}

}  // namespace ptychoserve::server
