#ifndef PTYCHOSERVE_SERVER_TELEMETRY_AUDIT_LOG_H_
#define PTYCHOSERVE_SERVER_TELEMETRY_AUDIT_LOG_H_

#include <initializer_list>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/mutex.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {

// Who has changed what: a line for each call that could change something, whether it did or was
// refused. JSON lines in a file of its own, or among the server's log. Thread-safe.
class AuditLog {
 public:
  // `path` empty: the server's log. Errors: kInvalidArgument when the file cannot be written to.
  static absl::StatusOr<std::unique_ptr<AuditLog>> Open(const std::string& path);

  void Write(std::initializer_list<LogField> fields);
  // Goes on in a new file of the same name, after the old one has been moved away. On an error, in
  // the old one.
  absl::Status Reopen();

 private:
  class File;
  explicit AuditLog(std::string path) : path_(std::move(path)) {}

  const std::string path_;
  Mutex mu_;
  std::shared_ptr<File> file_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_TELEMETRY_AUDIT_LOG_H_
