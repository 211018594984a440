#include "client/cpp/error_details.h"

#include <utility>

#include "absl/strings/cord.h"
#include "absl/types/optional.h"
#include "client/cpp/internal/status_conversion.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace ptychoserve::client {
namespace {

constexpr char kHintKey[] = "hint";
constexpr double kNanosPerSecond = 1e9;

void AddInfo(const google::rpc::ErrorInfo& info, ErrorDetails& out) {
  out.reason = info.reason();
  out.domain = info.domain();
  for (const auto& [key, value] : info.metadata()) {
    if (key == kHintKey) {
      out.hint = value;
    } else {
      out.metadata[key] = value;
    }
  }
}

void AddDetail(const google::protobuf::Any& any, ErrorDetails& out) {
  if (google::rpc::ErrorInfo info; any.UnpackTo(&info)) {
    AddInfo(info, out);
  } else if (google::rpc::BadRequest bad; any.UnpackTo(&bad)) {
    for (const auto& v : bad.field_violations()) {
      out.field_violations.push_back({v.field(), v.description()});
    }
  } else if (google::rpc::ResourceInfo resource; any.UnpackTo(&resource)) {
    out.resource_type = resource.resource_type();
    out.resource_name = resource.resource_name();
  } else if (google::rpc::QuotaFailure quota; any.UnpackTo(&quota)) {
    for (const auto& v : quota.violations()) {
      out.quota_violations.push_back({v.subject(), v.description()});
    }
  } else if (google::rpc::RetryInfo retry; any.UnpackTo(&retry)) {
    out.retry_after_s = static_cast<double>(retry.retry_delay().seconds()) +
                        retry.retry_delay().nanos() / kNanosPerSecond;
  }
}

}  // namespace

ErrorDetails GetErrorDetails(const absl::Status& status) {
  ErrorDetails out;
  const absl::optional<absl::Cord> payload = status.GetPayload(internal::kStatusDetailsUrl);
  if (!payload.has_value()) return out;
  google::rpc::Status proto;
  if (!proto.ParseFromString(std::string(*payload))) return out;
  for (const auto& any : proto.details()) AddDetail(any, out);
  return out;
}

}  // namespace ptychoserve::client
