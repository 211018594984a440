#include "tests/integration/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

namespace ptychoserve::integration {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kChildPoll{5};
constexpr int kSignalExitBase = 128;  // As shells report a process that a signal has ended.

}  // namespace

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

ChildProcess::ChildProcess(const std::string& binary, const std::vector<std::string>& arguments)
    : binary_(binary) {
  std::vector<std::string> words = {binary};
  for (const std::string& a : arguments) {
    const std::size_t at = a.find("@/");
    words.push_back(at == std::string::npos ? a
                                            : a.substr(0, at) + folder() + "/" + a.substr(at + 2));
  }
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, (folder() + "/log").c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  const int error = posix_spawn(&pid_, binary.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    std::fprintf(stderr, "cannot start %s: error %d\n", binary.c_str(), error);
    std::abort();
  }
}

ChildProcess::~ChildProcess() {
  if (running()) {
    Signal(SIGKILL);
    Wait();
  }
}

bool ChildProcess::running() {
  if (reaped_) return false;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return true;
  reaped_ = true;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : kSignalExitBase + WTERMSIG(status);
  return false;
}

void ChildProcess::Signal(int signal) const {
  if (!reaped_) kill(pid_, signal);
}

int ChildProcess::Wait(std::chrono::seconds deadline) {
  const auto end = Clock::now() + deadline;
  while (running()) {
    if (Clock::now() > end) {
      std::fprintf(stderr, "%s does not end:\n%s\n", binary_.c_str(), log().c_str());
      Signal(SIGKILL);
      while (running()) std::this_thread::sleep_for(kChildPoll);
      exit_code_ = kHung;
      break;
    }
    std::this_thread::sleep_for(kChildPoll);
  }
  return exit_code_;
}

std::string ChildProcess::log() const { return ReadFile(folder() + "/log"); }

}  // namespace ptychoserve::integration
