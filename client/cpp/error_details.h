#ifndef PTYCHOSERVE_CLIENT_CPP_ERROR_DETAILS_H_
#define PTYCHOSERVE_CLIENT_CPP_ERROR_DETAILS_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace ptychoserve::client {

// A field of a request that was wrong: its value and what is allowed.
struct FieldViolation {
  std::string field;
  std::string description;
};

// Something that ran out.
struct QuotaViolation {
  std::string subject;
  std::string description;
};

// What a server says about an error besides its code and message (google.rpc error details).
struct ErrorDetails {
  std::string reason;  // UPPER_SNAKE_CASE, stable: to program against. Empty when not given.
  std::string domain;
  std::map<std::string, std::string> metadata;
  std::vector<FieldViolation> field_violations;
  std::vector<QuotaViolation> quota_violations;
  std::string resource_type;
  std::string resource_name;
  std::optional<double> retry_after_s;
  // What to do about it, in words. Empty when the server gives none.
  std::string hint;
};

// The details that came with an error of this library; empty ones when there were none, or when
// `status` is no error of a server.
ErrorDetails GetErrorDetails(const absl::Status& status);

}  // namespace ptychoserve::client

#endif  // PTYCHOSERVE_CLIENT_CPP_ERROR_DETAILS_H_
