#ifndef PTYCHOSERVE_CLIENT_CPP_FRAME_WRITER_H_
#define PTYCHOSERVE_CLIENT_CPP_FRAME_WRITER_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/frame_format.h"
#include "client/cpp/writer_options.h"

namespace ptychoserve::client {

// Sends frames to a session from acquisition software: Push copies the frame into a bounded queue
// and returns at once; threads of the library batch, send, and keep to the credit that the server
// grants. Made by Client::OpenFrameWriter. Thread-safe.
//
// An error of the stream (unknown session, session ended, connection lost) is returned by the next
// Push, Flush or Close. What becomes of each frame is counted in the acknowledgements.
class FrameWriter {
 public:
  struct Impl;
  explicit FrameWriter(std::unique_ptr<Impl> impl);
  // Cancels the stream when Close was not called.
  ~FrameWriter();
  FrameWriter(const FrameWriter&) = delete;
  FrameWriter& operator=(const FrameWriter&) = delete;

  // `frame` is rows * cols pixels, row-major, little-endian, or one encoded frame when the format
  // has an encoding. Returns at once, or waits up to `timeout` for room in the queue.
  // Errors: kResourceExhausted: no room, the frame was not taken; kInvalidArgument: wrong size;
  // kFailedPrecondition: closed, or the session has ended; else that of the stream.
  absl::Status Push(std::int64_t frame_id, std::span<const std::byte> frame);
  absl::Status Push(std::int64_t frame_id, std::span<const std::byte> frame,
                    std::chrono::milliseconds timeout);
  // The same without the copy: the frame is sent from where it is. `owner` is let go of, on a
  // thread of the library, when the frame's memory may be written to again.
  absl::Status PushShared(std::int64_t frame_id, std::span<const std::byte> frame,
                          std::shared_ptr<const void> owner, std::chrono::milliseconds timeout);
  // Waits until the server has dealt with all frames pushed before.
  // Errors: kDeadlineExceeded, or that of the stream.
  absl::Status Flush(std::chrono::milliseconds timeout);
  // Sends what waits, ends the stream and returns the final counters. Errors as Flush; at the
  // deadline the stream is cancelled.
  absl::StatusOr<WriterReport> Close(std::chrono::milliseconds timeout);
  // The error that has ended the stream, if one has.
  absl::Status status() const;
  WriterReport report() const;
  const FrameFormat& format() const;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace ptychoserve::client

#endif  // PTYCHOSERVE_CLIENT_CPP_FRAME_WRITER_H_
