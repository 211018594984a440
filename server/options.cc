#include "server/options.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <memory>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/status_macros.h"
#include "engine/base/version.h"
#include "server/base/address.h"
#include "server/security/access.h"
#include "server/yaml_config.h"

namespace ptychoserve::server {
namespace {

constexpr char kDescription[] =
    "ptychoserved reconstructs ptychography scans while they are measured: detector frames and\n"
    "positions come in over gRPC, the engine iterates meanwhile, snapshots of object and probe\n"
    "go out. Try it: start ptychoserved, then 'ptychoctl run SCAN.cxi --server 127.0.0.1:50051'.";

constexpr char kFooter[] =
    "Sizes take suffixes: 512MB, 4GB (powers of 1024).\n"
    "Each option can also be given in the configuration file, YAML (max-sessions: 8), or as an\n"
    "environment variable (PTYCHOSERVED_MAX_SESSIONS); the command line comes first, then the\n"
    "file, then the environment. --print-config shows what comes of it.\n"
    "SIGHUP reads the access file and the log level again; certificates are read when they "
    "change.\n"
    "SIGTERM or SIGINT ends the server in order: input is acknowledged, sessions stop with their\n"
    "results, or with --state-dir are saved to go on, exit code 0; a second signal ends it at "
    "once.\n"
    "Other exit codes: 1 it could not start, 3 the orderly end took too long, 4 a GPU was lost "
    "and\n"
    "the server is to be started again.";

constexpr std::uint64_t kMinMessageBytes = 1 << 20;
constexpr std::uint64_t kMaxMessageBytes = 1 << 30;
constexpr std::uint64_t kMaxStagingBytes = 1ull << 40;

void AddOptions(CLI::App& app, ServerOptions& o, std::string& socket_mode) {
  const auto add = [&](const char* flag, auto& value, const char* env, const char* help) {
    return app.add_option(flag, value, help)->envname(env)->capture_default_str();
  };
  add("--listen", o.listen, "PTYCHOSERVED_LISTEN",
      "Addresses to listen on, with commas between: HOST:PORT (port 0: a free one) or unix:PATH")
      ->delimiter(',')
      ->group("Network");
  app.add_option("--socket-mode", socket_mode, "Permissions of Unix sockets, octal")
      ->envname("PTYCHOSERVED_SOCKET_MODE")
      ->capture_default_str()
      ->group("Network");
  add("--port-file", o.port_file, "PTYCHOSERVED_PORT_FILE",
      "File that gets the bound addresses once the server is ready, one a line, for scripts")
      ->group("Network");
  add("--metrics-listen", o.metrics_listen, "PTYCHOSERVED_METRICS_LISTEN",
      "Address for HTTP with /metrics (Prometheus), /healthz and /readyz: 127.0.0.1:9464. Without "
      "it there is none")
      ->group("Network");
  add("--metrics-port-file", o.metrics_port_file, "PTYCHOSERVED_METRICS_PORT_FILE",
      "File that gets the bound address of that")
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
  app.add_option(
         "--reflection", o.reflection,
         "Let tools list the service's methods: true, false. Default: true without an access "
         "file")
      ->envname("PTYCHOSERVED_REFLECTION")
      ->group("Network");

  add("--tls-cert", o.tls.cert, "PTYCHOSERVED_TLS_CERT",
      "Certificate of the server, PEM, with those of whoever signed it: all addresses but Unix "
      "sockets speak TLS then")
      ->group("Security");
  add("--tls-key", o.tls.key, "PTYCHOSERVED_TLS_KEY", "Its private key, PEM")->group("Security");
  add("--tls-client-ca", o.tls.client_ca, "PTYCHOSERVED_TLS_CLIENT_CA",
      "Clients must show a certificate that is signed by this one, PEM")
      ->group("Security");
  add("--access-file", o.access_file, "PTYCHOSERVED_ACCESS_FILE",
      "Who may do what, and how much: YAML, see docs/security.md. Without it, whoever reaches the "
      "server may do everything")
      ->group("Security");
  add("--audit-log", o.audit_log, "PTYCHOSERVED_AUDIT_LOG",
      "File that gets a line for each call that changes something, JSON. Default: they go to the "
      "log")
      ->group("Security");
  app.add_flag("--allow-insecure", o.allow_insecure,
               "Listen without TLS on an address that other machines can reach")
      ->envname("PTYCHOSERVED_ALLOW_INSECURE")
      ->group("Security");

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

absl::Status CheckListen(const ServerOptions& options) {
  if (options.listen.empty()) return Invalid("listen", "none; needed: one address or more");
  for (const std::string& address : options.listen) {
    if (IsUnixAddress(address)) continue;
    if (const auto parsed = ParseHostPort(address); !parsed.ok()) {
      return Invalid("listen", absl::StrCat(parsed.status().message(), ", unix:PATH"));
    }
    if (options.allow_insecure || options.tls.enabled() || IsLocalAddress(address)) continue;
    return Invalid("listen", absl::StrCat("'", address,
                                          "' can be reached from other machines, and nothing is "
                                          "encrypted: give --tls-cert and --tls-key, or listen on "
                                          "127.0.0.1 behind an SSH tunnel or a proxy with TLS, or "
                                          "say --allow-insecure on a trusted network"));
  }
  if (options.metrics_listen.empty()) return absl::OkStatus();
  const auto parsed = ParseHostPort(options.metrics_listen);
  return parsed.ok() ? absl::OkStatus() : Invalid("metrics-listen", parsed.status().message());
}

absl::Status CheckDevice(const ServerOptions& options) {
  int number = 0;
  absl::string_view device = options.device;
  const bool numbered =
      absl::ConsumePrefix(&device, "cuda:") && absl::SimpleAtoi(device, &number) && number >= 0;
  if (options.device == "auto" || options.device == "cpu" || options.device == "cuda" || numbered) {
    return absl::OkStatus();
  }
  return Invalid("device",
                 absl::StrCat("'", options.device, "'; allowed: auto, cpu, cuda, cuda:N"));
}

// Octal, as of chmod.
bool ParseMode(const std::string& text, std::uint32_t& mode) {
  constexpr std::uint32_t kMost = 0777;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  return error == std::errc() && end == text.data() + text.size() && mode <= kMost;
}

}  // namespace

ParsedOptions ParseOptions(int argc, const char* const* argv) {
  ParsedOptions out;
  CLI::App app(kDescription, "ptychoserved");
  app.footer(kFooter);
  app.set_version_flag("--version", absl::StrCat("ptychoserved ", kVersion));
  app.set_config("--config", "", "File of options, YAML: one 'name: value' a line")
      ->envname("PTYCHOSERVED_CONFIG");
  app.config_formatter(std::make_shared<YamlConfig>());
  app.allow_config_extras(CLI::config_extras_mode::error);
  bool print = false;
  app.add_flag("--check-config", out.check_config,
               "Say whether options and files would do, and exit: 0 yes, 1 no")
      ->configurable(false);
  app.add_flag("--print-config", print, "Print all options as they would be, and exit")
      ->configurable(false);
  std::string socket_mode = "0600";
  AddOptions(app, out.options, socket_mode);
  try {
    app.parse(argc, argv);
    if (!ParseMode(socket_mode, out.options.socket_mode)) {
      throw CLI::ValidationError("--socket-mode",
                                 absl::StrCat("'", socket_mode, "'; allowed: 0..0777, octal"));
    }
  } catch (const CLI::ParseError& error) {
    out.exit = true;
    // The library's own codes tell errors apart; the manual has one for all of them.
    out.exit_code = app.exit(error) == 0 ? 0 : 1;
  }
  if (print && !out.exit) {
    std::fputs(app.config_to_str(/*default_also=*/true).c_str(), stdout);
    out.exit = true;
  }
  return out;
}

absl::Status CheckOptions(const ServerOptions& options) {
  PS_RETURN_IF_ERROR(CheckListen(options));
  PS_RETURN_IF_ERROR(CheckDevice(options));
  PS_RETURN_IF_ERROR(CheckTlsFiles(options.tls));
  return Access::Create(options.access_file).status();
}

}  // namespace ptychoserve::server
