#include "tests/integration/server_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

namespace ptychoserve::integration {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPoll{5};
constexpr int kSignalExitBase = 128;  // As shells report a process that a signal has ended.

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

void ServerProcess::Spawn(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {PTYCHOSERVED_BINARY};
  for (const std::string& a : arguments) {
    const std::size_t at = a.find("@/");
    words.push_back(
        at == std::string::npos ? a : a.substr(0, at) + folder_.path() + "/" + a.substr(at + 2));
  }
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, (folder_.path() + "/log").c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  const int error =
      posix_spawn(&pid_, PTYCHOSERVED_BINARY, &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    std::fprintf(stderr, "cannot start %s: error %d\n", PTYCHOSERVED_BINARY, error);
    std::abort();
  }
}

std::unique_ptr<ServerProcess> ServerProcess::Start(const std::vector<std::string>& flags) {
  std::unique_ptr<ServerProcess> server(new ServerProcess());
  std::vector<std::string> arguments = {"--device",    "cpu",   "--threads",   "1",
                                        "--log-level", "debug", "--port-file", "@/address"};
  if (std::find(flags.begin(), flags.end(), "--listen") == flags.end()) {
    arguments.insert(arguments.end(), {"--listen", "127.0.0.1:0"});
  }
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  server->Spawn(arguments);
  const auto deadline = Clock::now() + kDeadline;
  while (server->running() && Clock::now() < deadline) {
    // The server renames the file into place: what is there is complete.
    std::string address = ReadFile(server->folder_.path() + "/address");
    if (!address.empty()) {
      address.pop_back();  // The newline.
      server->address_ = address;
      return server;
    }
    std::this_thread::sleep_for(kPoll);
  }
  std::fprintf(stderr, "ptychoserved did not come up:\n%s\n", server->log().c_str());
  return nullptr;
}

ServerProcess::~ServerProcess() {
  if (running()) {
    Signal(SIGKILL);
    Wait();
  }
}

bool ServerProcess::running() {
  if (pid_ <= 0 || reaped_) return false;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return true;
  reaped_ = true;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : kSignalExitBase + WTERMSIG(status);
  return false;
}

void ServerProcess::Signal(int signal) const {
  if (pid_ > 0 && !reaped_) kill(pid_, signal);
}

int ServerProcess::Wait(std::chrono::seconds deadline) {
  const auto end = Clock::now() + deadline;
  while (running()) {
    if (Clock::now() > end) {
      std::fprintf(stderr, "ptychoserved does not end:\n%s\n", log().c_str());
      Signal(SIGKILL);
      while (running()) std::this_thread::sleep_for(kPoll);
      exit_code_ = kHung;
      break;
    }
    std::this_thread::sleep_for(kPoll);
  }
  return exit_code_;
}

int ServerProcess::Terminate(std::chrono::seconds deadline) {
  Signal(SIGTERM);
  return Wait(deadline);
}

std::string ServerProcess::log() const { return ReadFile(folder_.path() + "/log"); }

FinishedServer RunServer(const std::vector<std::string>& arguments) {
  std::unique_ptr<ServerProcess> server(new ServerProcess());
  server->Spawn(arguments);
  FinishedServer out;
  out.exit_code = server->Wait();
  out.output = server->log();
  return out;
}

}  // namespace ptychoserve::integration
