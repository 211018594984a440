#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_LANES_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_LANES_H_

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/cuda/stream.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cuda {

// Streams that fork from another one, work side by side and join it again. Move-only. Not
// thread-safe.
class Lanes {
 public:
  // `count` lanes and the one that is beside them.
  static absl::StatusOr<Lanes> Create(int count) {
    Lanes lanes;
    PS_ASSIGN_OR_RETURN(lanes.forked_, Event::Create());
    lanes.lanes_.resize(static_cast<std::size_t>(count) + 1);
    for (Lane& lane : lanes.lanes_) {
      PS_ASSIGN_OR_RETURN(lane.stream, Stream::Create());
      PS_ASSIGN_OR_RETURN(lane.done, Event::Create());
    }
    return lanes;
  }

  // For work that needs a lane of its own, whatever the others do.
  const Stream& beside() const { return lanes_.front().stream; }
  const Stream& operator[](std::size_t lane) const { return lanes_[lane + 1].stream; }

  // What comes onto beside() and the first `used` lanes runs after what is on `stream` by now.
  absl::Status Fork(const Stream& stream, int used) {
    used_ = static_cast<std::size_t>(used) + 1;
    PS_RETURN_IF_ERROR(stream.Record(forked_));
    for (const Lane& lane : UsedLanes()) PS_RETURN_IF_ERROR(lane.stream.WaitFor(forked_));
    return absl::OkStatus();
  }
  // What comes onto `stream` from now on runs after what the lanes got since the fork.
  absl::Status Join(const Stream& stream) const {
    for (const Lane& lane : UsedLanes()) {
      PS_RETURN_IF_ERROR(lane.stream.Record(lane.done));
      PS_RETURN_IF_ERROR(stream.WaitFor(lane.done));
    }
    return absl::OkStatus();
  }

 private:
  struct Lane {
    Stream stream;
    Event done;
  };
  std::span<const Lane> UsedLanes() const { return std::span(lanes_).first(used_); }

  std::vector<Lane> lanes_;  // beside() first.
  std::size_t used_ = 0;     // By the last fork.
  Event forked_;
};

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_LANES_H_
