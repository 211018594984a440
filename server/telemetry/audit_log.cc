#include "server/telemetry/audit_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::server {

class AuditLog::File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() { close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // In one piece, also beside another process.
  bool Write(const std::string& line) const {
    return write(fd_, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  }

 private:
  const int fd_;
};

absl::StatusOr<std::unique_ptr<AuditLog>> AuditLog::Open(const std::string& path) {
  std::unique_ptr<AuditLog> log(new AuditLog(path));
  PS_RETURN_IF_ERROR(log->Reopen());
  return log;
}

absl::Status AuditLog::Reopen() {
  if (path_.empty()) return absl::OkStatus();
  constexpr mode_t kMode = 0640;
  const int fd = open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, kMode);
  if (fd < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--audit-log: cannot write ", path_, ": ", std::strerror(errno)));
  }
  MutexLock lock(mu_);
  file_ = std::make_shared<File>(fd);
  return absl::OkStatus();
}

void AuditLog::Write(std::initializer_list<LogField> fields) {
  std::shared_ptr<File> file;
  {
    MutexLock lock(mu_);
    file = file_;
  }
  if (file != nullptr) {
    const std::string time =
        absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone());
    const std::string line = FormatLogLine(LogFormat::kJson, "audit", fields);
    if (file->Write(absl::StrCat("{\"time\":\"", time, "\",", line, "}\n"))) return;
    Log(LogLevel::kError, "the audit log cannot be written to; its lines go here",
        {{"path", path_}, {"reason", std::strerror(errno)}});
  }
  Log(LogLevel::kInfo, "audit", fields);
}

}  // namespace ptychoserve::server
