#ifndef PTYCHOSERVE_TESTS_INTEGRATION_SERVER_PROCESS_H_
#define PTYCHOSERVE_TESTS_INTEGRATION_SERVER_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "tests/integration/child_process.h"

namespace ptychoserve::integration {

// A ptychoserved of its own, as a child process: on a free port, on the CPU, with one thread. Not
// thread-safe.
class ServerProcess {
 public:
  static constexpr std::chrono::seconds kDeadline = ChildProcess::kDeadline;
  static constexpr int kHung = ChildProcess::kHung;

  // Returns once the server listens; null, with the log on stderr, when it does not come up.
  // `flags` are added to those that are always given; "@/" in them stands for a folder that is
  // removed with the server.
  static std::unique_ptr<ServerProcess> Start(const std::vector<std::string>& flags = {});

  const std::string& address() const { return address_; }  // "127.0.0.1:43210"
  pid_t pid() const { return process_.pid(); }
  bool running() { return process_.running(); }

  void Signal(int signal) const { process_.Signal(signal); }
  // As ChildProcess::Wait.
  int Wait(std::chrono::seconds deadline = kDeadline) { return process_.Wait(deadline); }
  // SIGTERM, then Wait.
  int Terminate(std::chrono::seconds deadline = kDeadline);
  // What it has written to stdout and stderr so far.
  std::string log() const { return process_.log(); }

 private:
  explicit ServerProcess(const std::vector<std::string>& arguments);

  ChildProcess process_;
  std::string address_;
};

// A server that is expected to end by itself, with exactly these arguments.
struct FinishedServer {
  int exit_code = ServerProcess::kHung;
  std::string output;
};
FinishedServer RunServer(const std::vector<std::string>& arguments);

}  // namespace ptychoserve::integration

#endif  // PTYCHOSERVE_TESTS_INTEGRATION_SERVER_PROCESS_H_
