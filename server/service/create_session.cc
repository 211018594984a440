#include <utility>

#include "engine/base/status_macros.h"
#include "engine/solver/plausibility.h"
#include "server/service/convert.h"
#include "server/service/errors.h"
#include "server/service/handlers.h"
#include "server/telemetry/log.h"

namespace ptychoserve::server {
namespace {

std::optional<std::int64_t> TenantLimit(Core& core, const std::string& tenant) {
  return core.access->QuotaOf(tenant).max_sessions;
}

// Whether the tenant may have `bytes` more of the devices' memory.
absl::Status CheckDeviceQuota(Core& core, const std::string& tenant, std::int64_t bytes) {
  const auto most = core.access->QuotaOf(tenant).max_device_bytes;
  if (!most) return absl::OkStatus();
  std::int64_t needed = bytes;
  for (const auto& session : core.sessions.All()) {
    if (session->key().tenant == tenant) needed += session->reserved_bytes();
  }
  if (needed <= *most) return absl::OkStatus();
  return TenantQuotaReached(tenant, "max_device_bytes", needed, *most);
}

// What the session would be, without making it.
absl::Status Plan(Core& core, const SessionKey& key, const v1::SessionConfig& requested,
                  const ReconstructionConfig& config, v1::Session& response) {
  PS_ASSIGN_OR_RETURN(const auto existing,
                      core.sessions.Check(key, requested, TenantLimit(core, key.tenant)));
  if (existing != nullptr) {
    response = existing->ToProto();
    return absl::OkStatus();
  }
  PS_ASSIGN_OR_RETURN(const DeviceSet::Placement placement,
                      core.devices.Place(config, core.limits.session.staging_bytes));
  PS_RETURN_IF_ERROR(CheckDeviceQuota(core, key.tenant, placement.memory.bytes()));
  response.set_name(Session::NameOf(key.id));
  response.set_tenant(key.tenant);
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
  const SessionFiles files = core.state->FilesOf(start.key);
  const absl::Status made =
      files.Create(ManifestOf(start.key.id, start.requested, start.create_time));
  if (made.ok()) {
    start.files = files;
    return;
  }
  start.unsaved_reason = std::string(made.message());
  Log(LogLevel::kError, "a session cannot be kept on disk; it goes on without",
      {{"session", start.key.id}, {"reason", start.unsaved_reason}});
}

}  // namespace

absl::StatusOr<std::shared_ptr<Session>> MakeSession(Core& core, SessionStart start) {
  if (core.state != nullptr) {
    const SessionFiles files = core.state->FilesOf(start.key);
    if (files.InUse()) return SessionFilesExist(Session::NameOf(start.key.id), files.directory());
  }
  PS_ASSIGN_OR_RETURN(DeviceSet::Placement placement,
                      core.devices.Place(start.config, core.limits.session.staging_bytes));
  PS_RETURN_IF_ERROR(CheckDeviceQuota(core, start.key.tenant, placement.memory.bytes()));
  if (core.state != nullptr) MakeFiles(core, start);
  const std::optional<SessionFiles> files = start.files;
  auto session =
      Session::Create(std::move(start), std::move(placement), core.limits.session, core.pools());
  if (!session.ok() && files) files->Remove().IgnoreError();  // Found and removed at a restart.
  return session;
}

namespace {

absl::Status Create(Core& core, const Caller& caller, const v1::CreateSessionRequest& request,
                    v1::Session& response) {
  if (!request.session_id().empty()) PS_RETURN_IF_ERROR(CheckSessionId(request.session_id()));
  if (!request.has_config()) {
    return InvalidField(reason::kInvalidConfig, "config", "not set; required");
  }
  const SessionKey key{caller.tenant,
                       request.session_id().empty() ? MakeSessionId() : request.session_id()};
  const v1::SessionConfig& requested = request.config();
  PS_ASSIGN_OR_RETURN(const ReconstructionConfig config, CheckedConfig(requested));
  if (request.validate_only()) return Plan(core, key, requested, config, response);

  const auto make = [&] {
    return MakeSession(core, {.key = key, .requested = requested, .config = config});
  };
  PS_ASSIGN_OR_RETURN(const SessionRegistry::Created created,
                      core.sessions.Create(key, requested, TenantLimit(core, key.tenant), make));
  response = created.session->ToProto();
  if (!created.existed) {
    core.metrics.sessions_created.Increment();
    Log(LogLevel::kInfo, "session created",
        {{"session", key.id},
         {"tenant", key.tenant},
         {"caller", caller.name},
         {"device", response.device()},
         {"device_bytes", response.device_bytes()},
         {"capacity", config.scan.capacity},
         {"rows", EngineFrameShape(config.detector).rows},
         {"cols", EngineFrameShape(config.detector).cols}});
  }
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* HandleCreateSession(const Call& call,
                                              const v1::CreateSessionRequest* request,
                                              v1::Session* response) {
  grpc::ServerUnaryReactor* reactor = call.context->DefaultReactor();
  // Allocates device memory, which takes time.
  call.core.admin.Post([&core = call.core, caller = call.caller, reactor, request, response] {
    const absl::Status status = Create(core, caller, *request, *response);
    if (!status.ok()) {
      if (absl::IsResourceExhausted(status)) {
        core.metrics.admission_rejections.Add({{"reason", ReasonOf(status)}}).Increment();
      }
      Log(LogLevel::kInfo, "session refused",
          {{"session", request->session_id().substr(0, 64)},
           {"tenant", caller.tenant},
           {"reason", ReasonOf(status)},
           {"message", std::string(status.message().substr(0, 400))}});
    }
    reactor->Finish(ToGrpcStatus(status));
  });
  return reactor;
}

}  // namespace ptychoserve::server
