#include <algorithm>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "engine/base/status_macros.h"
#include "server/service/convert.h"
#include "server/service/enums.h"
#include "server/service/errors.h"
#include "server/service/handlers.h"

namespace ptychoserve::server {
namespace {

// What may change while a session runs.
struct Changeable {
  absl::string_view path;
  void (*copy)(const ReconstructionConfig& from, ReconstructionConfig& to);
};

constexpr Changeable kChangeable[] = {
    {"config.run.max_iterations",
     [](const auto& from, auto& to) { to.run.max_iterations = from.run.max_iterations; }},
    {"config.run.it_ends_after",
     [](const auto& from, auto& to) { to.run.it_ends_after = from.run.it_ends_after; }},
    {"config.snapshots", [](const auto& from, auto& to) { to.snapshots = from.snapshots; }},
    {"config.snapshots.every_iterations",
     [](const auto& from, auto& to) {
       to.snapshots.every_iterations = from.snapshots.every_iterations;
     }},
    {"config.snapshots.min_interval_ms",
     [](const auto& from, auto& to) {
       to.snapshots.min_interval_ms = from.snapshots.min_interval_ms;
     }},
    {"config.snapshots.history",
     [](const auto& from, auto& to) { to.snapshots.history = from.snapshots.history; }},
    {"config.clear_region",
     [](const auto& from, auto& to) { to.clear_region = from.clear_region; }},
    {"config.clear_region.enabled",
     [](const auto& from, auto& to) { to.clear_region.enabled = from.clear_region.enabled; }},
    {"config.clear_region.min_pixels_per_point",
     [](const auto& from, auto& to) {
       to.clear_region.min_pixels_per_point = from.clear_region.min_pixels_per_point;
     }},
};

std::string ChangeablePaths() {
  return absl::StrJoin(kChangeable, ", ", [](std::string* out, const Changeable& field) {
    absl::StrAppend(out, field.path);
  });
}

// Copies what `path` names from `from` to `to`. False for a path that may not be changed.
bool ApplyPath(absl::string_view path, const ReconstructionConfig& from, ReconstructionConfig& to) {
  const auto* field = std::ranges::find(kChangeable, path, &Changeable::path);
  if (field == std::end(kChangeable)) return false;
  field->copy(from, to);
  return true;
}

// Whether `field`, a path below SessionConfig, is named by the mask: itself, what contains it, or
// something within it.
bool IsMasked(const google::protobuf::FieldMask& mask, absl::string_view field) {
  for (const std::string& path : mask.paths()) {
    absl::string_view masked = path;
    if (!absl::ConsumePrefix(&masked, "config.")) continue;
    if (masked == field || absl::StartsWith(masked, absl::StrCat(field, ".")) ||
        absl::StartsWith(field, absl::StrCat(masked, "."))) {
      return true;
    }
  }
  return false;
}

}  // namespace

absl::Status ApplyUpdate(Session& session, const v1::UpdateSessionRequest& request) {
  if (request.update_mask().paths().empty()) {
    return InvalidField(reason::kInvalidRequest, "update_mask",
                        absl::StrCat("empty; name the fields to change, of ", ChangeablePaths()));
  }
  // Only the groups that can change are read; the rest of `session` is the client's copy.
  v1::SessionConfig changed;
  *changed.mutable_run() = request.session().config().run();
  *changed.mutable_snapshots() = request.session().config().snapshots();
  *changed.mutable_clear_region() = request.session().config().clear_region();
  const EdgeConfig edge = ConfigFromProto(changed);
  for (const FieldViolation& v : edge.violations) {
    if (IsMasked(request.update_mask(), v.field)) {
      return InvalidField(reason::kInvalidRequest, absl::StrCat("session.config.", v.field),
                          v.description);
    }
  }
  ReconstructionConfig scratch;
  for (const std::string& path : request.update_mask().paths()) {
    if (!ApplyPath(path, edge.config, scratch)) {
      return InvalidField(
          reason::kInvalidRequest, "update_mask",
          absl::StrCat("'", Cut(path, 100),
                       "' cannot be changed while a session runs; these can: ", ChangeablePaths()));
    }
  }
  auto violations = session.reconstruction().UpdateSettings([&](ReconstructionConfig& config) {
    for (const std::string& path : request.update_mask().paths()) {
      ApplyPath(path, edge.config, config);
    }
  });
  if (absl::IsFailedPrecondition(violations.status())) {
    return SessionEnded(session.name(), StateName(session.state()));
  }
  PS_RETURN_IF_ERROR(violations.status());
  if (!violations->empty()) {
    for (FieldViolation& v : *violations) v.field = absl::StrCat("session.config.", v.field);
    return InvalidFields(reason::kInvalidRequest, *violations);
  }
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* HandleUpdateSession(const Call& call,
                                              const v1::UpdateSessionRequest* request,
                                              v1::Session* response) {
  grpc::ServerUnaryReactor* reactor = call.context->DefaultReactor();
  const auto session = call.Find(request->session().name());
  const absl::Status updated = session.ok() ? ApplyUpdate(**session, *request) : session.status();
  if (!updated.ok()) {
    reactor->Finish(ToGrpcStatus(updated));
    return reactor;
  }
  state::v1::Event event;
  const v1::SessionConfig& config = request->session().config();
  v1::SessionConfig& noted = *event.mutable_update()->mutable_session()->mutable_config();
  *event.mutable_update()->mutable_update_mask() = request->update_mask();
  *noted.mutable_run() = config.run();
  *noted.mutable_snapshots() = config.snapshots();
  *noted.mutable_clear_region() = config.clear_region();
  (*session)->Record(event, [reactor, response, session = *session] {
    *response = session->ToProto();
    reactor->Finish(grpc::Status::OK);
  });
  return reactor;
}

}  // namespace ptychoserve::server
