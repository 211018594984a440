// Files that a server finds of its sessions, whose records are whole but say anything: what is read
// of a snapshot can be served and gone on from, and memory follows the file.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/io/record_file.h"
#include "engine/solver/reconstruction.h"
#include "ptychoserve/state/v1/state.pb.h"
#include "server/journal/session_files.h"
#include "server/journal/snapshot_records.h"
#include "server/publish/selection.h"
#include "server/service/convert.h"
#include "tests/fuzz/file_bytes.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/quiet_protobuf.h"
#include "tests/temporary_directory.h"
#include "tests/unit/engine/solver/fake_device.h"
#include "tests/unit/engine/test_config.h"

namespace ptychoserve::server {
namespace {

constexpr int kSide = 8;
constexpr const char* kNames[] = {"manifest.rec", "checkpoint.rec", "result.rec"};
constexpr std::size_t kMaxArrayBytes = 1 << 16;
constexpr StateKind kKinds[] = {
    StateKind::kManifest,      StateKind::kResult,     StateKind::kSnapshot,
    StateKind::kObject,        StateKind::kProbe,      StateKind::kCoverage,
    StateKind::kExactProbe,    StateKind::kExitWave,   StateKind::kObjectVelocity,
    StateKind::kProbeVelocity, StateKind::kExactObject};

// Bytes of an array as the snapshot before it announces, within reason.
std::size_t ArrayBytes(const state::v1::Snapshot& snapshot, StateKind kind) {
  const auto side = [](int n) { return n > 0 && n <= 128 ? static_cast<std::size_t>(n) : 0; };
  std::size_t pixels = side(snapshot.canvas().rows()) * side(snapshot.canvas().cols());
  if (kind == StateKind::kProbe || kind == StateKind::kExactProbe || kind == StateKind::kExitWave ||
      kind == StateKind::kProbeVelocity) {
    pixels = side(snapshot.modes()) * side(snapshot.probe_rows()) * side(snapshot.probe_cols());
  }
  if (kind == StateKind::kObject || kind == StateKind::kExactObject ||
      kind == StateKind::kObjectVelocity || kind == StateKind::kExitWave) {
    pixels *= side(std::max(snapshot.object_modes(), 1));
  }
  const std::size_t bytes =
      pixels * (kind == StateKind::kCoverage ? sizeof(float) : sizeof(Complex64));
  return bytes <= kMaxArrayBytes ? bytes : 0;
}

// Writes records whose kinds and payloads the input gives. Returns how many there are of each kind.
std::map<StateKind, int> WriteRecords(const std::string& path, FuzzInput* input) {
  auto writer = RecordWriter::Create(path);
  FUZZ_CHECK(writer.ok());
  std::map<StateKind, int> kinds;
  state::v1::Snapshot snapshot;
  for (int count = input->Below(10); count > 0; --count) {
    const StateKind kind = kKinds[input->Below(static_cast<int>(std::size(kKinds)))];
    const int before = kinds[kind]++;
    std::string payload;
    if (kind >= StateKind::kObject) {
      const int odd = input->Byte();
      payload.assign(ArrayBytes(snapshot, kind), static_cast<char>(odd));
      if (odd > 250) payload.resize(static_cast<std::size_t>(odd));
    } else {
      payload = input->Bytes(input->Plain<std::uint16_t>());
    }
    if (kind == StateKind::kSnapshot) snapshot.ParsePartialFromString(payload);
    FUZZ_CHECK(writer
                   ->Append(static_cast<std::uint32_t>(kind), static_cast<std::uint64_t>(before),
                            std::as_bytes(std::span(payload)))
                   .ok());
  }
  return kinds;
}

// A snapshot that is read is in the file, whole and once.
void CheckOneOfEach(const std::map<StateKind, int>& kinds) {
  for (const StateKind kind :
       {StateKind::kSnapshot, StateKind::kObject, StateKind::kProbe, StateKind::kCoverage}) {
    FUZZ_CHECK(kinds.contains(kind) && kinds.at(kind) == 1);
  }
}

// What becomes of a snapshot that was read: readers get it, a run goes on from it.
void Use(const std::shared_ptr<const Checkpoint>& checkpoint) {
  const std::shared_ptr<const Snapshot>& snapshot = checkpoint->snapshot;
  for (const bool whole : {false, true}) {
    for (const bool nan : {false, true}) {
      for (const int downsample : {1, 3}) {
        Selection selection;
        selection.arrays = {v1::ARRAY_KIND_OBJECT, v1::ARRAY_KIND_PROBE, v1::ARRAY_KIND_COVERAGE,
                            v1::ARRAY_KIND_POINTS, v1::ARRAY_KIND_OBJECT_MODES};
        selection.whole_canvas = whole;
        selection.uncovered_as_nan = nan;
        selection.downsample = downsample;
        FUZZ_CHECK(Prepare(snapshot, selection, {}).arrays.size() == selection.arrays.size());
      }
    }
  }
  ReconstructionConfig config = SmallConfig(kSide);
  config.run.max_iterations = 3;
  FakeDevice device;
  const auto session = Reconstruction::Create(config, device, {.restored = checkpoint});
  if (!session.ok()) return;
  FUZZ_CHECK((*session)->Stop(/*abort=*/false).ok());
  for (int turns = 0; (*session)->RunTurn(); ++turns) FUZZ_CHECK(turns < 1000);
  FUZZ_CHECK((*session)->state() == SessionState::kStopped);
}

void CheckCheckpoint(const SessionFiles& files,
                     const std::shared_ptr<const Checkpoint>& checkpoint) {
  const std::shared_ptr<const Snapshot>& snapshot = checkpoint->snapshot;
  const auto pixels = static_cast<std::size_t>(snapshot->canvas.shape.pixels());
  const auto modes = static_cast<std::size_t>(snapshot->object.modes);
  FUZZ_CHECK(snapshot->object.data.size() == modes * pixels);
  FUZZ_CHECK(checkpoint->object.data.empty() || checkpoint->object.data.size() == modes * pixels);
  FUZZ_CHECK(snapshot->coverage.data.size() == pixels);
  FUZZ_CHECK(snapshot->probe.data.size() ==
             static_cast<std::size_t>(snapshot->probe.modes * snapshot->probe.shape.pixels()));
  FUZZ_CHECK(checkpoint->probe.data.size() == snapshot->probe.data.size());
  if (checkpoint->exit_waves) {
    FUZZ_CHECK(checkpoint->exit_waves->kept_deviation.size() == snapshot->points.size());
    FUZZ_CHECK(checkpoint->exit_waves->waves.data.size() ==
               snapshot->points.size() * modes * snapshot->probe.data.size());
  }
  if (checkpoint->momentum) {
    FUZZ_CHECK(checkpoint->momentum->object_velocity.data.size() == modes * pixels);
    FUZZ_CHECK(checkpoint->momentum->probe_velocity.data.size() == snapshot->probe.data.size());
  }
  Use(checkpoint);
  const SnapshotRecords before(*checkpoint);
  FUZZ_CHECK(files.WriteCheckpoint(*checkpoint).ok());
  const auto again = files.ReadCheckpoint();
  FUZZ_CHECK(again.ok() && *again != nullptr);
  const SnapshotRecords after(**again);
  FUZZ_CHECK(after.records().size() == before.records().size());
  for (std::size_t i = 0; i < before.records().size(); ++i) {
    const auto a = before.records()[i].payload, b = after.records()[i].payload;
    FUZZ_CHECK(std::ranges::equal(a, b));
  }
}

void CheckResult(const SavedResult& saved) {
  EndedRun run;
  run.progress = ProgressFromProto(saved.result.session());
  for (const v1::IterationMetrics& metrics : saved.result.history()) {
    run.history.push_back(MetricsFromProto(metrics));
  }
  for (const google::protobuf::Timestamp& time : saved.result.state_times()) {
    run.state_changes.push_back({SessionState::kStopped, TimeFromProto(time)});
  }
  run.snapshot = saved.snapshot;
  const auto session = Reconstruction::CreateEnded(SmallConfig(kSide), std::move(run));
  if (!session.ok()) return;
  v1::Session proto;
  ProgressToProto((*session)->progress(), proto);
  for (const StateChange& change : (*session)->state_changes(0)) TimeToProto(change.time);
}

}  // namespace
}  // namespace ptychoserve::server

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ptychoserve;
  using namespace ptychoserve::server;
  static const TemporaryDirectory directory;
  static const SessionFiles files(directory.path());
  QuietProtobuf();
  FuzzInput input(data, size);
  const int which = input.Below(3);
  const std::string path = directory.path() + "/" + kNames[which];
  const std::map<StateKind, int> kinds = WriteRecords(path, &input);
  if (which == 0) {
    if (const auto manifest = files.ReadManifest(); manifest.ok()) {
      TimeFromProto(manifest->create_time());
      CheckedConfig(manifest->config()).status().IgnoreError();
    }
  } else if (which == 1) {
    if (const auto checkpoint = files.ReadCheckpoint(); checkpoint.ok() && *checkpoint != nullptr) {
      CheckOneOfEach(kinds);
      CheckCheckpoint(files, *checkpoint);
    }
  } else if (const auto result = files.ReadResult(); result.ok()) {
    CheckResult(*result);
    if (result->snapshot != nullptr) {
      CheckOneOfEach(kinds);
      CheckCheckpoint(files, CheckpointOf(result->snapshot));
    }
  }
  return 0;
}
