#ifndef PTYCHOSERVE_SERVER_TELEMETRY_LOG_H_
#define PTYCHOSERVE_SERVER_TELEMETRY_LOG_H_

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/mutex.h"

namespace ptychoserve::server {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

// One key=value of a log line.
struct LogField {
  absl::string_view key;
  std::string value;
  bool quoted = true;  // Strings are quoted where needed, numbers never.

  LogField(absl::string_view k, absl::string_view v) : key(k), value(v) {}
  LogField(absl::string_view k, const std::string& v) : key(k), value(v) {}
  LogField(absl::string_view k, const char* v) : key(k), value(v) {}
  template <typename T>
  requires std::is_arithmetic_v<T> LogField(absl::string_view k, T v)
      : key(k), value(absl::StrCat(v)), quoted(false) {}
};

// Sets up the process's log on stderr. Errors: kInvalidArgument for an unknown level
// (debug, info, warning, error) or format (text, json).
absl::Status InitLog(absl::string_view level, absl::string_view format);

// Writes one line: `event` in a few constant words, the particulars as fields. Thread-safe.
void Log(LogLevel level, absl::string_view event, std::initializer_list<LogField> fields = {});

// At most one line a second of one kind, which callers could otherwise fill a disk with.
// Thread-safe.
class LogLimit {
 public:
  using Clock = std::chrono::steady_clock;
  // How many lines were left out since the last one; nothing when this one is to be left out.
  std::optional<std::int64_t> Next(Clock::time_point now);

 private:
  Mutex mu_;
  Clock::time_point next_ ABSL_GUARDED_BY(mu_){};
  std::int64_t left_out_ ABSL_GUARDED_BY(mu_) = 0;
};

// The line without time and level, as Log writes it.
std::string FormatLogLine(LogFormat format, absl::string_view event,
                          std::initializer_list<LogField> fields);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_TELEMETRY_LOG_H_
