#ifndef PTYCHOSERVE_SERVER_TELEMETRY_TRACE_CONTEXT_H_
#define PTYCHOSERVE_SERVER_TELEMETRY_TRACE_CONTEXT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace ptychoserve::server {

// The trace id of a `traceparent` (W3C Trace Context, version 00), 32 hexadecimal digits, so that a
// line of the log can be found from the client's trace. Empty when it is none.
std::string TraceIdOf(absl::string_view traceparent);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_TELEMETRY_TRACE_CONTEXT_H_
