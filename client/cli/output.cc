#include "client/cli/output.h"

#include <cmath>
#include <cstdio>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/cli/exit_codes.h"
#include "client/cpp/error_details.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/timestamp.pb.h"
#include "google/protobuf/util/time_util.h"

namespace ptychoserve::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr char kBadInputUrl[] = "ptychoctl/bad-input";
constexpr char kKeptSessionUrl[] = "ptychoctl/kept-session";

// JSON has no NaN and no infinity.
Json Number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

// Element `index` of a repeated field, or the value of a single one (index < 0).
Json FieldValue(const Message& m, const FieldDescriptor& f, int index) {
  const Reflection& r = *m.GetReflection();
  const bool one = index < 0;
  switch (f.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return one ? r.GetInt32(m, &f) : r.GetRepeatedInt32(m, &f, index);
    case FieldDescriptor::CPPTYPE_INT64:
      return one ? r.GetInt64(m, &f) : r.GetRepeatedInt64(m, &f, index);
    case FieldDescriptor::CPPTYPE_UINT32:
      return one ? r.GetUInt32(m, &f) : r.GetRepeatedUInt32(m, &f, index);
    case FieldDescriptor::CPPTYPE_UINT64:
      return one ? r.GetUInt64(m, &f) : r.GetRepeatedUInt64(m, &f, index);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Number(one ? r.GetDouble(m, &f) : r.GetRepeatedDouble(m, &f, index));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return Number(one ? r.GetFloat(m, &f) : r.GetRepeatedFloat(m, &f, index));
    case FieldDescriptor::CPPTYPE_BOOL:
      return one ? r.GetBool(m, &f) : r.GetRepeatedBool(m, &f, index);
    case FieldDescriptor::CPPTYPE_ENUM:
      return (one ? r.GetEnum(m, &f) : r.GetRepeatedEnum(m, &f, index))->name();
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string text = one ? r.GetString(m, &f) : r.GetRepeatedString(m, &f, index);
      if (f.type() == FieldDescriptor::TYPE_BYTES) return absl::StrCat(text.size(), " bytes");
      return text;
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(one ? r.GetMessage(m, &f) : r.GetRepeatedMessage(m, &f, index));
  }
  return nullptr;
}

}  // namespace

Json ToJson(const Message& message) {
  if (const auto* time = dynamic_cast<const google::protobuf::Timestamp*>(&message)) {
    return google::protobuf::util::TimeUtil::ToString(*time);
  }
  Json out = Json::object();
  const google::protobuf::Descriptor& type = *message.GetDescriptor();
  for (int k = 0; k < type.field_count(); ++k) {
    const FieldDescriptor& f = *type.field(k);
    if (f.is_repeated()) {
      Json list = Json::array();
      const int n = message.GetReflection()->FieldSize(message, &f);
      for (int i = 0; i < n; ++i) list.push_back(FieldValue(message, f, i));
      out[f.name()] = std::move(list);
    } else if (!f.has_presence() || message.GetReflection()->HasField(message, &f)) {
      if (f.type() == FieldDescriptor::TYPE_BYTES &&
          message.GetReflection()->GetString(message, &f).empty()) {
        continue;
      }
      out[f.name()] = FieldValue(message, f, -1);
    }
  }
  return out;
}

absl::Status BadInput(const absl::Status& status) {
  absl::Status out = status;
  if (!out.ok()) out.SetPayload(kBadInputUrl, absl::Cord("1"));
  return out;
}

absl::Status KeptSession(const absl::Status& status, const std::string& name) {
  absl::Status out = status;
  if (!out.ok()) out.SetPayload(kKeptSessionUrl, absl::Cord(name));
  return out;
}

int ExitCodeFor(const absl::Status& status) {
  if (status.ok()) return kExitOk;
  if (status.GetPayload(kBadInputUrl).has_value() || absl::IsInvalidArgument(status)) {
    return kExitBadInput;
  }
  return absl::IsCancelled(status) ? kExitInterrupted : kExitServerError;
}

std::string ErrorLine(const absl::Status& status) {
  const client::ErrorDetails details = client::GetErrorDetails(status);
  const std::string message(status.message());
  std::string line = absl::StrCat(absl::StatusCodeToString(status.code()), ": ", message);
  // A server may well have put its only violation into the message already.
  for (const client::FieldViolation& v : details.field_violations) {
    if (!absl::StrContains(message, v.description) || !absl::StrContains(message, v.field)) {
      absl::StrAppend(&line, "; ", v.field, ": ", v.description);
    }
  }
  for (const client::QuotaViolation& v : details.quota_violations) {
    if (!absl::StrContains(message, v.description)) {
      absl::StrAppend(&line, "; ", v.subject, ": ", v.description);
    }
  }
  if (details.retry_after_s.has_value()) {
    absl::StrAppend(&line, "; try again in ", *details.retry_after_s, " s");
  }
  if (!details.hint.empty()) absl::StrAppend(&line, " (hint: ", details.hint, ")");
  if (!details.reason.empty()) absl::StrAppend(&line, " [", details.reason, "]");
  if (const auto kept = status.GetPayload(kKeptSessionUrl); kept.has_value()) {
    absl::StrAppend(&line, "; ", std::string(*kept), " is kept on the server");
  }
  return absl::StrReplaceAll(line, {{"\n", " "}});
}

Json ErrorJson(const absl::Status& status) {
  const client::ErrorDetails details = client::GetErrorDetails(status);
  Json error;
  error["code"] = absl::StatusCodeToString(status.code());
  if (!details.reason.empty()) error["reason"] = details.reason;
  error["message"] = std::string(status.message());
  if (!details.field_violations.empty()) {
    for (const client::FieldViolation& v : details.field_violations) {
      error["fields"].push_back({{"field", v.field}, {"description", v.description}});
    }
  }
  if (!details.quota_violations.empty()) {
    for (const client::QuotaViolation& v : details.quota_violations) {
      error["quota"].push_back({{"subject", v.subject}, {"description", v.description}});
    }
  }
  if (!details.resource_name.empty()) error["resource"] = details.resource_name;
  if (!details.metadata.empty()) error["metadata"] = details.metadata;
  if (details.retry_after_s.has_value()) error["retry_after_s"] = *details.retry_after_s;
  if (!details.hint.empty()) error["hint"] = details.hint;
  if (const auto kept = status.GetPayload(kKeptSessionUrl); kept.has_value()) {
    error["kept_session"] = std::string(*kept);
  }
  error["exit_code"] = ExitCodeFor(status);
  Json out;
  out["error"] = std::move(error);
  return out;
}

int ReportError(const absl::Status& status, bool json) {
  if (json) PrintLine(ErrorJson(status).dump());
  std::fprintf(stderr, "ptychoctl: %s\n", ErrorLine(status).c_str());
  return ExitCodeFor(status);
}

void PrintLine(const std::string& line) {
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

}  // namespace ptychoserve::cli
