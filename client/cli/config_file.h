#ifndef PTYCHOSERVE_CLIENT_CLI_CONFIG_FILE_H_
#define PTYCHOSERVE_CLIENT_CLI_CONFIG_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "ptychoserve/v1/config.pb.h"

namespace ptychoserve::cli {

// A SessionConfig from text: JSON when its first character is '{', else protobuf's text format.
// Errors: kInvalidArgument with line and reason; unknown fields are errors.
absl::StatusOr<v1::SessionConfig> ParseConfig(const std::string& text);
// As ParseConfig, of a file. Errors: kNotFound, kInvalidArgument naming the file.
absl::StatusOr<v1::SessionConfig> ReadConfigFile(const std::string& path);

}  // namespace ptychoserve::cli

#endif  // PTYCHOSERVE_CLIENT_CLI_CONFIG_FILE_H_
