#include <utility>

#include "engine/base/status_macros.h"
#include "engine/solver/plausibility.h"
#include "server/service/convert.h"
#include "server/service/errors.h"
#include "server/service/handlers.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {
namespace {

// What the session would be, without making it.
absl::Status Plan(Core& core, const std::string& id, const v1::SessionConfig& requested,
                  const ReconstructionConfig& config, v1::Session& response) {
  PS_ASSIGN_OR_RETURN(const auto existing, core.sessions.Check(id, requested));
  if (existing != nullptr) {
    response = existing->ToProto();
    return absl::OkStatus();
  }
  PS_ASSIGN_OR_RETURN(const DeviceSet::Placement placement,
                      core.devices.Place(config, core.limits.session.staging_bytes));
  response.set_name(Session::NameOf(id));
  *response.mutable_config() = ConfigToProto(config);
  response.set_device(placement.device->device->name());
  response.set_device_bytes(placement.memory.bytes());
  const PixelSize pixel = ObjectPixelSize(config.optics, config.detector);
  response.set_pixel_size_y_m(pixel.y_m);
  response.set_pixel_size_x_m(pixel.x_m);
  for (const std::string& warning : SettingsWarnings(config)) response.add_warnings(warning);
  return absl::OkStatus();
}

// That there is the session, on disk. Without, it lives as long as the server, and says so.
void MakeFiles(Core& core, SessionStart& start) {
  const SessionFiles files = core.state->FilesOf(start.id);
  const absl::Status made = files.Create(ManifestOf(start.id, start.requested, start.create_time));
  if (made.ok()) {
    start.files = files;
    return;
  }
  start.unsaved_reason = std::string(made.message());
  Log(LogLevel::kError, "a session cannot be kept on disk; it goes on without",
      {{"session", start.id}, {"reason", start.unsaved_reason}});
}

}  // namespace

absl::StatusOr<std::shared_ptr<Session>> MakeSession(Core& core, SessionStart start) {
  PS_ASSIGN_OR_RETURN(DeviceSet::Placement placement,
                      core.devices.Place(start.config, core.limits.session.staging_bytes));
  if (core.state != nullptr) MakeFiles(core, start);
  const std::optional<SessionFiles> files = start.files;
  auto session =
      Session::Create(std::move(start), std::move(placement), core.limits.session, core.pools());
  if (!session.ok() && files) files->Remove().IgnoreError();  // Found and removed at a restart.
  return session;
}

namespace {

absl::Status Create(Core& core, const v1::CreateSessionRequest& request, v1::Session& response) {
  if (!request.session_id().empty()) PS_RETURN_IF_ERROR(CheckSessionId(request.session_id()));
  if (!request.has_config()) {
    return InvalidField(reason::kInvalidConfig, "config", "not set; required");
  }
  const std::string id = request.session_id().empty() ? MakeSessionId() : request.session_id();
  const v1::SessionConfig& requested = request.config();
  PS_ASSIGN_OR_RETURN(const ReconstructionConfig config, CheckedConfig(requested));
  if (request.validate_only()) return Plan(core, id, requested, config, response);

  const auto make = [&] {
    return MakeSession(core, {.id = id, .requested = requested, .config = config});
  };
  PS_ASSIGN_OR_RETURN(const SessionRegistry::Created created,
                      core.sessions.Create(id, requested, make));
  response = created.session->ToProto();
  if (!created.existed) {
    Log(LogLevel::kInfo, "session created",
        {{"session", id},
         {"device", response.device()},
         {"device_bytes", response.device_bytes()},
         {"capacity", config.scan.capacity},
         {"rows", EngineFrameShape(config.detector).rows},
         {"cols", EngineFrameShape(config.detector).cols}});
  }
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* HandleCreateSession(Core& core, grpc::CallbackServerContext* context,
                                              const v1::CreateSessionRequest* request,
                                              v1::Session* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  // Allocates device memory, which takes time.
  core.admin.Post([&core, reactor, request, response] {
    const absl::Status status = Create(core, *request, *response);
    if (!status.ok()) {
      Log(LogLevel::kInfo, "session refused",
          {{"session", request->session_id().substr(0, 64)},
           {"reason", ReasonOf(status)},
           {"message", std::string(status.message().substr(0, 400))}});
    }
    reactor->Finish(ToGrpcStatus(status));
  });
  return reactor;
}

}  // namespace ptychoserve::server
