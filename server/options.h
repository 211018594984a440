#ifndef PTYCHOSERVE_SERVER_OPTIONS_H_
#define PTYCHOSERVE_SERVER_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/security/tls_files.h"

namespace ptychoserve::server {

// Everything that can be set from outside. Fixed once the server runs, but for what Reload names.
struct ServerOptions {
  // HOST:PORT, port 0: a free one; or unix:PATH.
  std::vector<std::string> listen = {"127.0.0.1:50051"};
  std::uint32_t socket_mode = 0600;  // Permissions of Unix sockets.
  bool allow_insecure = false;       // Listen beyond this machine, without encryption.
  TlsFiles tls;                      // Of all addresses that are no Unix sockets.
  std::string access_file;           // Who may do what; empty: everybody everything.
  std::string audit_log;             // Empty: among the log.
  std::string port_file;             // The bound addresses are written here, one a line.
  std::string metrics_listen;        // HOST:PORT; empty: none.
  std::string metrics_port_file;
  std::string device = "auto";  // auto, cpu, cuda, cuda:N.
  int threads = 0;              // Of the CPU device; 0: all cores.
  int max_streams = 1024;
  std::uint64_t host_memory_limit = 0;  // Bytes; 0: half of the memory.
  std::uint64_t cpu_memory_limit = 0;   // Bytes; 0: three quarters of the memory.
  int max_sessions = 64;
  std::uint64_t max_message_bytes = 32 << 20;
  std::uint64_t staging_bytes = 256 << 20;
  double open_timeout_s = 10;  // For the first message of an input stream.
  int ingest_workers = 0;      // 0: half of the cores, 2 to 16.
  std::string state_dir;       // Empty: sessions live as long as the server.
  double checkpoint_interval_s = 10;
  std::uint64_t checkpoint_wave_bytes = std::uint64_t{4} << 30;
  double retention_h = 168;  // Of ended sessions; 0: until they are deleted.
  double shutdown_timeout_s = 20;
  std::string log_level = "info";
  std::string log_format = "text";
  std::optional<bool> reflection;  // Not set: where anybody may do everything.
};

// What the command line asks for.
struct ParsedOptions {
  ServerOptions options;
  bool check_config = false;  // Only say whether all of it would do.
  bool exit = false;          // --help, --version, --print-config, or an error: the text is out.
  int exit_code = 0;
};
// Reads flags, then what they leave out from the configuration file, then from PTYCHOSERVED_*
// variables.
ParsedOptions ParseOptions(int argc, const char* const* argv);

// Reads the files that the options name as well, but for the state directory. Errors:
// kInvalidArgument naming the option that contradicts another or makes no sense.
absl::Status CheckOptions(const ServerOptions& options);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_OPTIONS_H_
