#ifndef PTYCHOSERVE_ENGINE_BASE_FAILPOINT_H_
#define PTYCHOSERVE_ENGINE_BASE_FAILPOINT_H_

#include "absl/strings/string_view.h"

namespace ptychoserve {

// A place at which a test can have something go wrong in a real process. The environment variable
// PTYCHOSERVE_FAILPOINTS, read once, names what: a list of NAME=ACTION[@FIRST[-LAST]], separated by
// commas, for the FIRST-th to LAST-th time that the place is passed (1 and FIRST by default; an
// open end with "FIRST-"). Actions: `kill` (SIGKILL to this process), `enospc`, `eio`, `erofs` (the
// call behind it is to fail like that) and `sleep` (half a second).
// Returns the errno to fail with, 0 to go on. Thread-safe; without the variable it costs a load.
int Failpoint(absl::string_view name);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BASE_FAILPOINT_H_
