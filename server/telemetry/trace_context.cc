#include "server/telemetry/trace_context.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_split.h"

namespace ptychoserve::server {
namespace {

// Lower case, and not all zeros, which stands for none.
bool IsId(absl::string_view text, std::size_t digits) {
  return text.size() == digits && text.find_first_not_of('0') != absl::string_view::npos &&
         std::ranges::all_of(
             text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

std::string TraceIdOf(absl::string_view traceparent) {
  constexpr std::size_t kTraceDigits = 32;
  constexpr std::size_t kSpanDigits = 16;
  constexpr std::size_t kFields = 4;
  const std::vector<absl::string_view> fields = absl::StrSplit(traceparent, '-');
  if (fields.size() < kFields || fields[0].size() != 2 || fields[0] == "ff" ||
      !IsId(fields[1], kTraceDigits) || !IsId(fields[2], kSpanDigits)) {
    return "";
  }
  return std::string(fields[1]);
}

}  // namespace ptychoserve::server
