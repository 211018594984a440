#ifndef PTYCHOSERVE_CLIENT_CPP_POSITION_WRITER_H_
#define PTYCHOSERVE_CLIENT_CPP_POSITION_WRITER_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/writer_options.h"

namespace ptychoserve::client {

// Sends positions or encoder samples to a session. As FrameWriter in all that is not said here.
class PositionWriter {
 public:
  struct Impl;
  explicit PositionWriter(std::unique_ptr<Impl> impl);
  ~PositionWriter();
  PositionWriter(const PositionWriter&) = delete;
  PositionWriter& operator=(const PositionWriter&) = delete;

  // Where the beam's centre is during frame `frame_id`, in metres of the stage.
  absl::Status Push(std::int64_t frame_id, double x_m, double y_m);
  // Many positions at once; equally long spans. Waits up to `timeout` for room.
  absl::Status Push(std::span<const std::int64_t> frame_ids, std::span<const double> x_m,
                    std::span<const double> y_m, std::chrono::milliseconds timeout);
  // Encoder samples first_sample, first_sample + 1, ... in counts; equally long spans.
  absl::Status PushEncoderSamples(std::int64_t first_sample, std::span<const double> x_counts,
                                  std::span<const double> y_counts,
                                  std::chrono::milliseconds timeout);
  absl::Status Flush(std::chrono::milliseconds timeout);
  absl::StatusOr<WriterReport> Close(std::chrono::milliseconds timeout);
  absl::Status status() const;
  WriterReport report() const;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace ptychoserve::client

#endif  // PTYCHOSERVE_CLIENT_CPP_POSITION_WRITER_H_
