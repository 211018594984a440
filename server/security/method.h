#ifndef PTYCHOSERVE_SERVER_SECURITY_METHOD_H_
#define PTYCHOSERVE_SERVER_SECURITY_METHOD_H_

#include <optional>

#include "absl/strings/string_view.h"
#include "server/security/caller.h"

namespace ptychoserve::server {

enum class Method {
  kCreateSession,
  kGetSession,
  kListSessions,
  kUpdateSession,
  kDeleteSession,
  kFinishScan,
  kStopSession,
  kTestOrientation,
  kStreamFrames,
  kStreamPositions,
  kGetSnapshot,
  kWatchSnapshots,
  kGetFrame,
  kWatchSession,
  kExportState,
  kImportState,
  kGetServerInfo,
};

// What the table below says of a method.
struct MethodRule {
  Method method;
  absl::string_view name;  // As in the proto file.
  Role least;              // That may call it.
  bool changes;            // Something, so that the audit log tells of it.
};

inline constexpr MethodRule kMethodRules[] = {
    {Method::kCreateSession, "CreateSession", Role::kProducer, true},
    {Method::kGetSession, "GetSession", Role::kViewer, false},
    {Method::kListSessions, "ListSessions", Role::kViewer, false},
    {Method::kUpdateSession, "UpdateSession", Role::kOperator, true},
    {Method::kDeleteSession, "DeleteSession", Role::kOperator, true},
    {Method::kFinishScan, "FinishScan", Role::kProducer, true},
    {Method::kStopSession, "StopSession", Role::kOperator, true},
    {Method::kTestOrientation, "TestOrientation", Role::kOperator, true},
    {Method::kStreamFrames, "StreamFrames", Role::kProducer, true},
    {Method::kStreamPositions, "StreamPositions", Role::kProducer, true},
    {Method::kGetSnapshot, "GetSnapshot", Role::kViewer, false},
    {Method::kWatchSnapshots, "WatchSnapshots", Role::kViewer, false},
    {Method::kGetFrame, "GetFrame", Role::kViewer, false},
    {Method::kWatchSession, "WatchSession", Role::kViewer, false},
    {Method::kExportState, "ExportState", Role::kOperator, true},
    {Method::kImportState, "ImportState", Role::kAdmin, true},
    {Method::kGetServerInfo, "GetServerInfo", Role::kViewer, false},
};

constexpr const MethodRule& RuleOf(Method method) {
  return kMethodRules[static_cast<int>(method)];  // In the order of the enumeration.
}

// The rule of "/ptychoserve.v1.Ptychoserve/GetSession"; null for another service's method.
inline const MethodRule* RuleOfPath(absl::string_view path) {
  constexpr absl::string_view kService = "/ptychoserve.v1.Ptychoserve/";
  if (path.substr(0, kService.size()) != kService) return nullptr;
  for (const MethodRule& rule : kMethodRules) {
    if (rule.name == path.substr(kService.size())) return &rule;
  }
  return nullptr;
}

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SECURITY_METHOD_H_
