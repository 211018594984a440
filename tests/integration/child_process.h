#ifndef PTYCHOSERVE_TESTS_INTEGRATION_CHILD_PROCESS_H_
#define PTYCHOSERVE_TESTS_INTEGRATION_CHILD_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/temporary_directory.h"

namespace ptychoserve::integration {

// A program that runs beside the test. Not thread-safe.
class ChildProcess {
 public:
  // Long enough for a sanitizer's build on a busy machine; what takes longer hangs.
  static constexpr std::chrono::seconds kDeadline{60};
  static constexpr int kHung = -1;

  // "@/" in an argument stands for the process's folder.
  ChildProcess(const std::string& binary, const std::vector<std::string>& arguments);
  // Kills what still runs.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  bool running();
  void Signal(int signal) const;
  // Exit code, or 128 + signal, or kHung when the process had to be killed at the deadline.
  int Wait(std::chrono::seconds deadline = kDeadline);
  // What it has written to stdout and stderr so far.
  std::string log() const;
  // Goes with the process.
  const std::string& folder() const { return folder_.path(); }

 private:
  const std::string binary_;
  TemporaryDirectory folder_;
  pid_t pid_ = -1;
  int exit_code_ = kHung;
  bool reaped_ = false;
};

// The whole of a file; empty when there is none.
std::string ReadFile(const std::string& path);

}  // namespace ptychoserve::integration

#endif  // PTYCHOSERVE_TESTS_INTEGRATION_CHILD_PROCESS_H_
