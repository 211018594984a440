#ifndef PTYCHOSERVE_TESTS_INTEGRATION_SERVER_PROCESS_H_
#define PTYCHOSERVE_TESTS_INTEGRATION_SERVER_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "tests/temporary_directory.h"

namespace ptychoserve::integration {

struct FinishedServer;

// A ptychoserved of its own, as a child process: on a free port, on the CPU, with one thread. Not
// thread-safe.
class ServerProcess {
 public:
  // Long enough for a sanitizer's build on a busy machine; what takes longer hangs.
  static constexpr std::chrono::seconds kDeadline{60};
  static constexpr int kHung = -1;

  // Returns once the server listens; null, with the log on stderr, when it does not come up.
  // `flags` are added to those that are always given; "@/" in them stands for a folder that is
  // removed with the server.
  static std::unique_ptr<ServerProcess> Start(const std::vector<std::string>& flags = {});
  // Kills what still runs.
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  const std::string& address() const { return address_; }  // "127.0.0.1:43210"
  pid_t pid() const { return pid_; }
  bool running();

  void Signal(int signal) const;
  // Exit code, or 128 + signal, or kHung when the process had to be killed at the deadline.
  int Wait(std::chrono::seconds deadline = kDeadline);
  // SIGTERM, then Wait.
  int Terminate(std::chrono::seconds deadline = kDeadline);
  // What it has written to stdout and stderr so far.
  std::string log() const;

 private:
  ServerProcess() = default;
  void Spawn(const std::vector<std::string>& arguments);

  friend FinishedServer RunServer(const std::vector<std::string>& arguments);

  TemporaryDirectory folder_;  // Holds log and port file.
  std::string address_;
  pid_t pid_ = -1;
  int exit_code_ = kHung;
  bool reaped_ = false;
};

// A server that is expected to end by itself, with exactly these arguments.
struct FinishedServer {
  int exit_code = ServerProcess::kHung;
  std::string output;
};
FinishedServer RunServer(const std::vector<std::string>& arguments);

}  // namespace ptychoserve::integration

#endif  // PTYCHOSERVE_TESTS_INTEGRATION_SERVER_PROCESS_H_
