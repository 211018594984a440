#ifndef PTYCHOSERVE_CLIENT_CPP_WRITER_OPTIONS_H_
#define PTYCHOSERVE_CLIENT_CPP_WRITER_OPTIONS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "ptychoserve/v1/ingest.pb.h"

namespace ptychoserve::client {

// How a writer buffers and batches.
struct WriterOptions {
  // Bytes that may wait to be sent, the message under way included. A larger single item is taken
  // when nothing else waits.
  std::size_t queue_bytes = std::size_t{64} << 20;
  // Small items are put together to messages of about this payload, within what the server takes.
  std::size_t message_bytes = std::size_t{2} << 20;
  // Items that do not fill a message wait so long for company. 0: not at all.
  std::chrono::milliseconds linger{5};
  // Called for each acknowledgement, in order, on a thread of the library. Must not block, and
  // must not close or destroy the writer; it may push.
  std::function<void(const v1::IngestAck&)> on_ack;
};

// What a writer has done so far.
struct WriterReport {
  std::int64_t items = 0;          // Pushed: frames, positions or encoder samples.
  std::int64_t sent_items = 0;     // Of these, in messages sent.
  std::int64_t batches = 0;        // Messages sent.
  std::int64_t payload_bytes = 0;  // Sent.
  v1::IngestAck last_ack;          // With the session's counters; the final one after Close.
};

}  // namespace ptychoserve::client

#endif  // PTYCHOSERVE_CLIENT_CPP_WRITER_OPTIONS_H_
