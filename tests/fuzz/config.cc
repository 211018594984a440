// Configurations as clients send them, and as they lie in files: what is valid has an effective
// configuration that is valid, too, and the same; what a session of it needs can be computed.
#include <google/protobuf/util/message_differencer.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "client/cli/config_file.h"
#include "engine/backend/cpu/cpu_device.h"
#include "engine/scan/object_grid.h"
#include "engine/solver/reconstruction.h"
#include "engine/store/frame_store.h"
#include "server/service/convert.h"
#include "server/service/errors.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/quiet_protobuf.h"

namespace ptychoserve::server {
namespace {

void CheckValid(const ReconstructionConfig& config, bool has_arrays) {
  FUZZ_CHECK(Validate(config).empty());
  static const std::unique_ptr<Device> device = CreateCpuDevice({.threads = 1});
  FUZZ_CHECK(device->EstimateBytes(Reconstruction::BackendConfigFor(config)) > 0);
  constexpr std::int64_t kStagingBytes = 256 << 20;
  FUZZ_CHECK(FrameStore::StagingBytes(config, kStagingBytes) > 0);
  FUZZ_CHECK(ObjectGrid(config).canvas().shape.pixels() <= config.object.max_pixels);

  const v1::SessionConfig effective = ConfigToProto(config);
  if (has_arrays) return;  // The effective configuration leaves their values out.
  const auto again = CheckedConfig(effective);
  FUZZ_CHECK(again.ok());
  FUZZ_CHECK(google::protobuf::util::MessageDifferencer::Equals(ConfigToProto(*again), effective));
}

}  // namespace
}  // namespace ptychoserve::server

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ptychoserve;
  using namespace ptychoserve::server;
  QuietProtobuf();
  FuzzInput input(data, size);
  v1::SessionConfig proto;
  if (input.Flag()) {
    const auto parsed = cli::ParseConfig(input.Rest());
    if (!parsed.ok()) return 0;
    proto = *parsed;
  } else if (!proto.ParseFromString(input.Rest())) {
    return 0;
  }
  const auto config = CheckedConfig(proto);
  if (config.ok()) {
    CheckValid(*config, proto.probe().has_initial() || !proto.detector().bad_pixels().empty());
  } else {
    FUZZ_CHECK(ReasonOf(config.status()) == reason::kInvalidConfig);
    FUZZ_CHECK(!ToGrpcStatus(config.status()).error_details().empty());
  }
  return 0;
}
