#ifndef PTYCHOSERVE_ENGINE_STORE_FRAME_STORE_H_
#define PTYCHOSERVE_ENGINE_STORE_FRAME_STORE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/base/mutex.h"
#include "engine/config.h"
#include "engine/frames/frame_batch.h"
#include "engine/frames/preprocess.h"
#include "engine/scan/encoder_assembler.h"
#include "engine/scan/id_ranges.h"
#include "engine/scan/object_grid.h"
#include "engine/scan/position_batch.h"
#include "engine/store/ingest_report.h"

namespace ptychoserve {

// Frames and positions joined by id into points, and the host memory in which accepted frames
// wait for the device.
//
// A slot is one frame's place on the device. Its life, forward only:
//   empty -> reserved   an id has been given the slot, its pixels are being prepared
//   reserved -> empty   they could not be decoded
//   reserved -> staged  pixels are ready in host memory
//   staged -> loaded    the device has copied them (TakeStaged, later ReleaseStaged)
//   loaded -> ready     loaded, and the id has a position (either order)
// Only ready slots are ever handed out as points. There is one capacity: the number of slots.
//
// Thread-safe. TakeStaged and ReleaseStaged are for one caller at a time, NewPoints is for the
// device worker.
class FrameStore {
 public:
  static constexpr std::int64_t kMaxSkippedAtOnce = 1 << 20;
  // Bytes of staging memory for `config`, valid and resolved: as many frames as fit into
  // `most_bytes`, but no more than there are slots, and at least max(2, auto_centre.frames).
  static std::int64_t StagingBytes(const ReconstructionConfig& config, std::int64_t most_bytes);
  // `staging` is of StagingBytes(config, most_bytes).
  FrameStore(const ReconstructionConfig& config, StagingMemory staging, std::int64_t most_bytes);
  ~FrameStore();

  // See Reconstruction::AddFrames. Frames are decoded and prepared on the caller's thread, outside
  // the lock and straight into the memory that the device fetches them from; callers do not wait
  // for each other.
  int AddFrames(const FrameBatch& batch, int begin);
  // See Reconstruction::SkipFrames.
  absl::Status SkipFrames(std::int64_t first_frame_id, std::int64_t count);
  // Positions beyond 8 * capacity + 65536 waiting for their frames are refused (kOverCapacity).
  void AddPositions(const PositionBatch& batch);
  // Errors: kInvalidArgument when the session has no encoder.
  absl::Status AddEncoderSamples(const EncoderBatch& batch);
  // From now on inputs are refused as kLate. Frames held back for auto-centre are released.
  void Close();
  bool closed() const;
  // Gives back the staging memory after the session's end; accepted frames that were not taken
  // are no longer counted as staged. Close first.
  void Drop();

  // Runs `ready` once, when frames can be staged (at once if that is so now) or at Close.
  void NotifyWhenSpace(std::function<void()> ready);
  std::int64_t free_staging_bytes() const;

  // Frames that wait for the device, in the order of their slots; they stay valid until
  // ReleaseStaged.
  std::vector<FrameToLoad> TakeStaged();
  // Of the frames taken so far all but the last `under_way` are on the device; their memory is used
  // again. False when nothing has changed.
  bool ReleaseStaged(std::int64_t under_way);

  struct Point {
    std::int64_t frame_id = 0;
    std::int32_t slot = 0;
    Window window;
  };
  // Points that became ready since the last call; frames without a count are left out.
  std::vector<Point> NewPoints();

  struct LoadedFrame {
    std::int64_t frame_id = 0;
    std::int32_t slot = 0;
  };
  // The frame of that id, or else the one that has got to the device last; none while it is not
  // there.
  std::optional<LoadedFrame> Loaded(std::optional<std::int64_t> frame_id) const;

  struct Status {
    IngestCounters frames;
    IngestCounters positions;
    std::int64_t joined_points = 0;
    std::int64_t empty_frames = 0;
    std::int64_t frames_without_position = 0;
    std::int64_t positions_without_frame = 0;
    std::int64_t incomplete_encoder_frames = 0;
    std::int64_t staged_frames = 0;     // Not yet on the device, held-back ones included.
    bool full = false;                  // Every slot holds a frame.
    std::vector<std::string> warnings;  // Such as a beam not found, a crop that was moved.
  };
  Status status() const;
  // Cheaper than status().
  IngestCounters frame_counters() const;
  IngestCounters position_counters() const;
  // Ids of frames, and of positions, that have neither been accepted nor refused, at most `limit`
  // ranges of them. Known are those up to the highest one that has.
  MissingIds MissingFrames(std::size_t limit) const;
  MissingIds MissingPositions(std::size_t limit) const;
  // Grows with every frame and position that is taken in, those held back included.
  std::int64_t inputs_taken() const;

  // Present canvas and scanned area, both on the absolute lattice; see ObjectGrid.
  Region canvas() const;
  Region scanned() const;

 private:
  int TakeFrames(const FrameBatch& batch, int begin);
  // Tells those who wait for space when frames that were abandoned have given some back.
  void NotifyOfReturned();

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_STORE_FRAME_STORE_H_
