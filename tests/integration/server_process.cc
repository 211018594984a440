#include "tests/integration/server_process.h"

#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <thread>

namespace ptychoserve::integration {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kServerPoll{5};

}  // namespace

ServerProcess::ServerProcess(const std::vector<std::string>& arguments)
    : process_(PTYCHOSERVED_BINARY, arguments) {}

std::unique_ptr<ServerProcess> ServerProcess::Start(const std::vector<std::string>& flags) {
  std::vector<std::string> arguments = {"--device",    "cpu",   "--threads",   "1",
                                        "--log-level", "debug", "--port-file", "@/address"};
  if (std::find(flags.begin(), flags.end(), "--listen") == flags.end()) {
    arguments.insert(arguments.end(), {"--listen", "127.0.0.1:0"});
  }
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  std::unique_ptr<ServerProcess> server(new ServerProcess(arguments));
  const auto deadline = Clock::now() + kDeadline;
  while (server->running() && Clock::now() < deadline) {
    // The server renames the file into place: what is there is complete.
    std::string address = ReadFile(server->process_.folder() + "/address");
    if (!address.empty()) {
      address.pop_back();  // The newline.
      server->address_ = address;
      return server;
    }
    std::this_thread::sleep_for(kServerPoll);
  }
  std::fprintf(stderr, "ptychoserved did not come up:\n%s\n", server->log().c_str());
  return nullptr;
}

int ServerProcess::Terminate(std::chrono::seconds deadline) {
  Signal(SIGTERM);
  return Wait(deadline);
}

FinishedServer RunServer(const std::vector<std::string>& arguments) {
  ChildProcess server(PTYCHOSERVED_BINARY, arguments);
  FinishedServer out;
  out.exit_code = server.Wait();
  out.output = server.log();
  return out;
}

}  // namespace ptychoserve::integration
