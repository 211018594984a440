#ifndef PTYCHOSERVE_SERVER_SERVICE_ENUMS_H_
#define PTYCHOSERVE_SERVER_SERVICE_ENUMS_H_

#include <optional>
#include <string>

#include "engine/config.h"
#include "engine/solver/progress.h"
#include "engine/store/ingest_report.h"
#include "ptychoserve/v1/config.pb.h"
#include "ptychoserve/v1/ingest.pb.h"
#include "ptychoserve/v1/session.pb.h"

namespace ptychoserve::server {

namespace v1 = ::ptychoserve::v1;

// Enumerations of the API to those of the engine. UNSPECIFIED becomes the default that the API
// states, where it states one; nullopt for anything else that is not known.
std::optional<DataType> FromProto(v1::DataType value);
std::optional<Orientation> FromProto(v1::Orientation value);
std::optional<bool> BeamAtCorner(v1::BeamPosition value);
std::optional<OverCapacity> FromProto(v1::OverCapacity value);
std::optional<OutOfCanvas> FromProto(v1::OutOfCanvas value);
std::optional<ScheduleClock> FromProto(v1::ScheduleClock value);
std::optional<Likelihood> FromProto(v1::Likelihood value);
std::optional<BatchKind> FromProto(v1::BatchKind value);
std::optional<Encoding> FromProto(v1::Encoding value);

v1::DataType ToProto(DataType value);
v1::Orientation ToProto(Orientation value);
v1::OverCapacity ToProto(OverCapacity value);
v1::OutOfCanvas ToProto(OutOfCanvas value);
v1::ScheduleClock ToProto(ScheduleClock value);
v1::Likelihood ToProto(Likelihood value);
v1::BatchKind ToProto(BatchKind value);
v1::SessionState ToProto(SessionState value);
v1::EndOfData ToProto(EndOfData value);
v1::Completion ToProto(Completion value);
v1::RejectReason ToProto(Reject value);

// The way back, of what this server has written; what is not known becomes the first value.
SessionState StateFromProto(v1::SessionState value);
EndOfData EndOfDataFromProto(v1::EndOfData value);
Completion CompletionFromProto(v1::Completion value);
Reject RejectFromProto(v1::RejectReason value);

// As in the API without the prefix: "COMPLETED".
std::string StateName(SessionState state);

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SERVICE_ENUMS_H_
