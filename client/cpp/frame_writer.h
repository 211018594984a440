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
// When the connection breaks or the server restarts, the writer connects again by itself, and sends
// again what the server does not have: see WriterOptions. Meanwhile Push fills the queue. Only what
// cannot be got over (unknown session, session ended, another writer of the same producer, a server
// that stays away) is an error of the stream; the next Push, Flush or Close returns it. What
// becomes of each frame is counted in the acknowledgements.
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
  // thread of the library, when the frame's memory may be written to again: once the server has the
  // frame safe (see WriterOptions::retain_bytes), or with the writer.
  absl::Status PushShared(std::int64_t frame_id, std::span<const std::byte> frame,
                          std::shared_ptr<const void> owner, std::chrono::milliseconds timeout);
  // Declares that the detector has lost the frames first_frame_id, first_frame_id + 1, ... and that
  // nobody will send them; goes to the server in its place among the frames. Counts in the report
  // as if they were pushed. Errors as Push; kInvalidArgument for a count below 1.
  absl::Status Skip(std::int64_t first_frame_id, std::int64_t count,
                    std::chrono::milliseconds timeout = std::chrono::milliseconds(0));
  // Waits until the server has dealt with all frames pushed before, which are then in its memory;
  // Close waits until they are on its disk, if it keeps a journal.
  // Errors: kDeadlineExceeded, or that of the stream.
  absl::Status Flush(std::chrono::milliseconds timeout);
  // Sends what waits, ends the stream once the server has all of it safe, and returns the final
  // counters. A break is got over within the deadline; at the deadline the stream is cancelled.
  // Errors as Flush.
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
