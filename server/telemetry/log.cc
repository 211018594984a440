#include "server/telemetry/log.h"

#include <grpc/support/log.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdio>
#include <utility>

#include "absl/strings/match.h"

namespace ptychoserve::server {
namespace {

std::atomic<LogFormat> g_format{LogFormat::kText};

// As a JSON string, quotes included; also used for text values with blanks or quotes.
std::string Quote(absl::string_view s) {
  std::string out = "\"";
  for (const char c : s) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          char escaped[8];
          std::snprintf(escaped, sizeof(escaped), "\\u%04x", static_cast<unsigned char>(c));
          out += escaped;
        } else {
          out += c;
        }
    }
  }
  return out + '"';
}

bool NeedsQuotes(absl::string_view s) {
  if (s.empty()) return true;
  for (const char c : s) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == '"' || c == '=' || c == '\\') return true;
  }
  return false;
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      break;
  }
  return spdlog::level::err;
}

// What gRPC has to say, in lines as all others. Its errors are mostly those of strangers: a failed
// handshake.
void LogOfGrpc(gpr_log_func_args* args) {
  static LogLimit limit;
  const auto left_out = limit.Next(LogLimit::Clock::now());
  const bool is_the_end = absl::StartsWith(args->message, "assertion failed");
  if (!left_out && !is_the_end) return;
  Log(args->severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kWarning : LogLevel::kDebug, "grpc",
      {{"message", args->message}, {"left_out", left_out.value_or(0)}});
}

}  // namespace

absl::Status InitLog(absl::string_view level, absl::string_view format) {
  spdlog::level::level_enum threshold;
  if (level == "debug") {
    threshold = spdlog::level::debug;
  } else if (level == "info") {
    threshold = spdlog::level::info;
  } else if (level == "warning") {
    threshold = spdlog::level::warn;
  } else if (level == "error") {
    threshold = spdlog::level::err;
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("log level '", level, "'; allowed: debug, info, warning, error"));
  }
  if (format != "text" && format != "json") {
    return absl::InvalidArgumentError(
        absl::StrCat("log format '", format, "'; allowed: text, json"));
  }
  g_format = format == "json" ? LogFormat::kJson : LogFormat::kText;
  gpr_set_log_function(LogOfGrpc);
  if (spdlog::get("ptychoserved") == nullptr) {
    spdlog::set_default_logger(spdlog::stderr_color_mt("ptychoserved"));
  }
  spdlog::set_level(threshold);
  spdlog::flush_on(spdlog::level::info);
  if (format == "json") {
    spdlog::set_pattern(R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l",%v})");
  } else {
    spdlog::set_pattern("%Y-%m-%d %H:%M:%S.%e %^%-7l%$ %v");
  }
  return absl::OkStatus();
}

std::string FormatLogLine(LogFormat format, absl::string_view event,
                          std::initializer_list<LogField> fields) {
  if (format == LogFormat::kJson) {
    std::string line = absl::StrCat("\"event\":", Quote(event));
    for (const LogField& f : fields) {
      absl::StrAppend(&line, ",", Quote(f.key), ":", f.quoted ? Quote(f.value) : f.value);
    }
    return line;
  }
  std::string line(event);
  for (const LogField& f : fields) {
    absl::StrAppend(&line, " ", f.key, "=",
                    f.quoted && NeedsQuotes(f.value) ? Quote(f.value) : f.value);
  }
  return line;
}

std::optional<std::int64_t> LogLimit::Next(Clock::time_point now) {
  constexpr std::chrono::seconds kInterval{1};
  MutexLock lock(mu_);
  if (now < next_) {
    ++left_out_;
    return std::nullopt;
  }
  next_ = now + kInterval;
  return std::exchange(left_out_, 0);
}

void Log(LogLevel level, absl::string_view event, std::initializer_list<LogField> fields) {
  const spdlog::level::level_enum to = ToSpdlog(level);
  if (!spdlog::should_log(to)) return;
  spdlog::default_logger_raw()->log(to, FormatLogLine(g_format, event, fields));
}

}  // namespace ptychoserve::server
