// Journals that a server finds of a session, with any records, damaged or not: it takes the session
// up, with counters that add up, and a second server takes up the same.
#include <spdlog/spdlog.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/io/record_file.h"
#include "ptychoserve/state/v1/state.pb.h"
#include "server/journal/recovery.h"
#include "server/journal/session_files.h"
#include "server/service/core.h"
#include "tests/fuzz/file_bytes.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/quiet_protobuf.h"
#include "tests/temporary_directory.h"
#include "tests/unit/engine/solver/fake_device.h"

namespace ptychoserve::server {
namespace {

constexpr char kId[] = "a";
constexpr std::uint32_t kSide = 8, kCapacity = 8;

v1::SessionConfig Config() {
  v1::SessionConfig config;
  config.mutable_optics()->set_wavelength_m(1e-10);
  config.mutable_optics()->set_distance_m(1);
  config.mutable_optics()->set_detector_pixel_size_y_m(1e-3);
  config.mutable_detector()->mutable_frame_shape()->set_rows(kSide);
  config.mutable_detector()->mutable_frame_shape()->set_cols(kSide);
  config.mutable_detector()->set_dtype(v1::DATA_TYPE_U8);
  config.mutable_scan()->set_capacity(kCapacity);
  config.mutable_object()->set_max_pixels(1 << 12);
  config.mutable_run()->set_max_iterations(3);
  return config;
}

// A server whose sessions live on a device without arithmetic.
class Server {
 public:
  explicit Server(const std::string& directory)
      : core_(OneDevice(), Limits(), *StateDirectory::Open(directory), *Access::Create(""), [] {}) {
  }

  SessionFiles files() const { return core_.state->FilesOf({kDefaultTenant, kId}); }

  // Takes the session up. Returns what has come of its input.
  Progress Recover() {
    RecoverSessions(core_);
    return session()->reconstruction().progress();
  }
  // Lets the session go, with its files.
  void Forget() {
    const auto removed = core_.sessions.Remove(kDefaultTenant, session()->name(), /*force=*/true);
    FUZZ_CHECK(removed.ok());
    std::promise<void> gone;
    (*removed)->Discard([&] { gone.set_value(); });
    gone.get_future().wait();
  }

 private:
  static std::vector<std::unique_ptr<Device>> OneDevice() {
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::make_unique<FakeDevice>());
    return devices;
  }
  static CoreLimits Limits() {
    CoreLimits limits;
    limits.session.staging_bytes = 1;  // Room for the least number of frames.
    return limits;
  }
  std::shared_ptr<Session> session() const {
    const auto session = core_.sessions.Get(kDefaultTenant, Session::NameOf(kId));
    FUZZ_CHECK(session.ok());
    return *session;
  }

  Core core_;
};

// Writes the files of one segment, whose records the input gives.
void WriteJournal(const std::string& directory, FuzzInput* input) {
  std::uint64_t sequence = 0;
  std::uint32_t kind = 1;
  std::string payload;
  for (int lane = 1 + input->Below(2); lane > 0; --lane) {
    const std::string path = absl::StrFormat("%s/input-000001-%d.rec", directory, lane);
    auto writer = RecordWriter::Create(path);
    FUZZ_CHECK(writer.ok());
    for (int count = input->Below(8); count > 0; --count) {
      const int step = input->Below(3);
      if (step > 0 || sequence == 0) {  // Else the last one is written again, as after an error.
        sequence += 1 + static_cast<std::uint64_t>(step);
        kind = 1 + static_cast<std::uint32_t>(input->Below(4));
        payload = input->Bytes(input->Plain<std::uint16_t>());
      }
      FUZZ_CHECK(writer->Append(kind, sequence, std::as_bytes(std::span(payload))).ok());
    }
    std::string bytes = ReadBytes(path);
    Damage(input, &bytes);
    WriteBytes(path, bytes);
  }
}

void CheckCounters(const IngestCounters& counters) {
  FUZZ_CHECK(counters.received == counters.accepted + counters.total_rejected());
  FUZZ_CHECK(counters.watermark >= -1);
  FUZZ_CHECK(counters.payload_bytes >= 0 && counters.skipped >= 0);
}

bool AreSame(const IngestCounters& a, const IngestCounters& b) {
  return a.received == b.received && a.accepted == b.accepted && a.rejected == b.rejected &&
         a.watermark == b.watermark && a.skipped == b.skipped;
}

}  // namespace
}  // namespace ptychoserve::server

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ptychoserve;
  using namespace ptychoserve::server;
  static const TemporaryDirectory directories[2];
  static Server first(directories[0].path()), second(directories[1].path());
  spdlog::set_level(spdlog::level::off);
  QuietProtobuf();
  FuzzInput input(data, size);

  state::v1::Manifest manifest;
  manifest.set_session_id(kId);
  *manifest.mutable_config() = Config();
  FUZZ_CHECK(first.files().Create(manifest).ok());
  WriteJournal(first.files().directory(), &input);
  std::filesystem::copy(first.files().directory(), second.files().directory());

  const Progress a = first.Recover(), b = second.Recover();
  CheckCounters(a.frames);
  CheckCounters(a.positions);
  FUZZ_CHECK(a.frames.accepted <= std::int64_t{kCapacity});
  FUZZ_CHECK(AreSame(a.frames, b.frames) && AreSame(a.positions, b.positions));
  FUZZ_CHECK(a.joined_points == b.joined_points);
  first.Forget();
  second.Forget();
  return 0;
}
