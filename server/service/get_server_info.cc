#include "engine/backend/cuda/cuda_device.h"
#include "engine/base/version.h"
#include "server/service/convert.h"
#include "server/service/handlers.h"

namespace ptychoserve::server {

grpc::ServerUnaryReactor* HandleGetServerInfo(const Call& call, const v1::GetServerInfoRequest*,
                                              v1::ServerInfo* response) {
  Core& core = call.core;
  response->set_version(kVersion);
  response->set_build(BuiltWithCuda() ? "cuda" : "cpu-only");
  const auto sessions = core.sessions.All();
  for (const auto& serving : core.devices.devices()) {
    v1::Device& device = *response->add_devices();
    device.set_name(serving->device->name());
    device.set_description(serving->device->description());
    device.set_total_bytes(serving->device->total_bytes());
    device.set_usable_bytes(serving->memory.usable_bytes());
    device.set_reserved_bytes(serving->memory.reserved_bytes());
    std::uint32_t all = 0;
    std::uint32_t active = 0;
    for (const auto& session : sessions) {
      if (session->device_name() != device.name()) continue;
      ++all;
      if (!session->ended()) ++active;
    }
    device.set_sessions(all);
    device.set_active_sessions(active);
  }
  for (const auto dtype :
       {v1::DATA_TYPE_U8, v1::DATA_TYPE_U16, v1::DATA_TYPE_U32, v1::DATA_TYPE_F32}) {
    response->add_dtypes(dtype);
  }
  for (const auto encoding : {v1::ENCODING_RAW, v1::ENCODING_LZ4, v1::ENCODING_BSLZ4}) {
    response->add_encodings(encoding);
  }
  response->set_max_message_bytes(static_cast<std::uint64_t>(core.limits.max_message_bytes));
  response->set_max_sessions(static_cast<std::uint32_t>(core.limits.max_sessions));
  response->set_staging_bytes(static_cast<std::uint64_t>(core.limits.session.staging_bytes));
  response->set_max_streams(static_cast<std::uint32_t>(core.limits.max_streams));
  response->set_max_streams_per_connection(CoreLimits::kMaxStreamsPerConnection);
  response->set_max_metadata_bytes(CoreLimits::kMaxMetadataBytes);
  const MemoryAdmission& host = core.devices.host_memory();
  response->set_host_memory_bytes(static_cast<std::uint64_t>(host.usable_bytes()));
  response->set_host_memory_reserved_bytes(static_cast<std::uint64_t>(host.reserved_bytes()));
  response->set_uptime_s(
      std::chrono::duration<double>(std::chrono::steady_clock::now() - core.start).count());
  *response->mutable_caller() = CallerToProto(call.caller);
  grpc::ServerUnaryReactor* reactor = call.context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

}  // namespace ptychoserve::server
