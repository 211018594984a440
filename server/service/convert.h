#ifndef PTYCHOSERVE_SERVER_SERVICE_CONVERT_H_
#define PTYCHOSERVE_SERVER_SERVICE_CONVERT_H_

#include <google/protobuf/timestamp.pb.h>

#include <chrono>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/config.h"
#include "engine/solver/progress.h"
#include "engine/store/ingest_report.h"
#include "ptychoserve/v1/config.pb.h"
#include "ptychoserve/v1/service.pb.h"
#include "ptychoserve/v1/session.pb.h"
#include "server/security/caller.h"

namespace ptychoserve::server {

namespace v1 = ::ptychoserve::v1;

// The edge between the API's messages and the engine's plain structs. Pure functions.

// What can be said about a configuration without the engine's rules.
struct EdgeConfig {
  ReconstructionConfig config;             // Fields in violation hold some harmless value.
  std::vector<FieldViolation> violations;  // In field order.
};
// Fills in the defaults of config.proto that do not depend on other fields; the others are left
// to Resolve().
EdgeConfig ConfigFromProto(const v1::SessionConfig& proto);

// As ConfigFromProto, then the engine's Validate and Resolve.
// Errors: kInvalidArgument that lists the violations of both.
absl::StatusOr<ReconstructionConfig> CheckedConfig(const v1::SessionConfig& proto);

// The effective configuration. Pixels of probe and mask are left out, their shapes are there.
v1::SessionConfig ConfigToProto(const ReconstructionConfig& config);

v1::IngestCounters CountersToProto(const IngestCounters& counters);
v1::IterationMetrics MetricsToProto(const IterationRecord& record);
v1::FitMetrics FitToProto(const FitMetrics& fit);
v1::SplitHalves HalvesToProto(const SplitHalvesStatus& halves);
v1::OrientationTest OrientationToProto(const OrientationRanking& ranking);
// Fills in the part of the resource that the engine knows; name, config, times and device are the
// session's.
void ProgressToProto(const Progress& progress, v1::Session& session);

v1::Caller CallerToProto(const Caller& caller);

// The way back, of what was saved.
IngestCounters CountersFromProto(const v1::IngestCounters& counters);
IterationRecord MetricsFromProto(const v1::IterationMetrics& metrics);
Progress ProgressFromProto(const v1::Session& session);

std::chrono::system_clock::time_point TimeFromProto(const google::protobuf::Timestamp& time);
google::protobuf::Timestamp TimeToProto(std::chrono::system_clock::time_point time);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SERVICE_CONVERT_H_
