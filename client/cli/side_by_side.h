#ifndef PTYCHOSERVE_CLIENT_CLI_SIDE_BY_SIDE_H_
#define PTYCHOSERVE_CLIENT_CLI_SIDE_BY_SIDE_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "engine/io/cxi.h"
#include "ptychoserve/v1/session.pb.h"

namespace ptychoserve::cli {

// Reconstructs the same frames of a scan in one session for each of `configs`, as many at a time as
// the server has room for, and returns how each has ended. All of the sessions are deleted, also
// when something goes wrong. `on_progress` is given the sessions that have not ended, now and then.
// Errors: kCancelled on Ctrl-C, kResourceExhausted when there is no room for a single one, those of
// the calls.
absl::StatusOr<std::vector<v1::Session>> RunSideBySide(
    client::Client& client, CxiScanReader& scan, std::span<const std::int64_t> frames,
    const std::vector<v1::SessionConfig>& configs, const std::string& id_prefix,
    const std::function<void(const std::vector<v1::Session>&)>& on_progress);

}  // namespace ptychoserve::cli

#endif  // PTYCHOSERVE_CLIENT_CLI_SIDE_BY_SIDE_H_
