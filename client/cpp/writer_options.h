#ifndef PTYCHOSERVE_CLIENT_CPP_WRITER_OPTIONS_H_
#define PTYCHOSERVE_CLIENT_CPP_WRITER_OPTIONS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "ptychoserve/v1/ingest.pb.h"

namespace ptychoserve::client {

// How a writer buffers and batches, and what it does when the connection breaks.
struct WriterOptions {
  // Bytes that may wait to be sent, the message under way included. A larger single item is taken
  // when nothing else waits.
  std::size_t queue_bytes = std::size_t{64} << 20;
  // Small items are put together to messages of about this payload, within what the server takes.
  std::size_t message_bytes = std::size_t{2} << 20;
  // Items that do not fill a message wait so long for company. 0: not at all.
  std::chrono::milliseconds linger{5};
  // Called for each acknowledgement, in order, on a thread of the library. Must not block, and
  // must not close or destroy the writer; it may push. `batches` and what else counts the stream
  // begins anew with each connection.
  std::function<void(const v1::IngestAck&)> on_ack;

  // What was sent is kept until the server has it safe (IngestAck.durability): on disk when it
  // keeps a journal, else in its memory. So many bytes of it, beside queue_bytes; then Push finds
  // the queue full. When the server has lost its journal, the oldest of what it has acknowledged
  // is let go of instead.
  std::size_t retain_bytes = std::size_t{256} << 20;
  // How long a broken connection is tried again, from the break on or from the beginning. Then the
  // error of the last attempt ends the writer. 0: not at all.
  std::chrono::milliseconds give_up_after{600'000};
  // Pauses between attempts grow from the one to the other, each shortened at random by up to half.
  std::chrono::milliseconds retry_initial{100};
  std::chrono::milliseconds retry_max{5'000};
  // An attempt that the server does not answer ends after this time.
  std::chrono::milliseconds open_timeout{30'000};
  // Names the sender: 1 to 64 of [A-Za-z0-9._:-]; see OpenStream.producer. No two writers that live
  // at the same time may have the same, for the later one ends the other. A writer with a name goes
  // on where an earlier one has ended, be it in another process: of what is pushed, it leaves out
  // what the session had when it connected. Empty: one at random.
  std::string producer;
  // A directory for what does not fit into the queue while the server is away: a spool, in files
  // SESSION-PRODUCER.frames.NUMBER.spool (or .positions.), from which it comes back in order, and
  // which go when the server has all of it safe. Empty: none; Push finds the queue full then.
  // When the writer ends with an error, it leaves there what the server does not have safe. A later
  // writer of the same session and producer begins with what it finds; that needs a `producer` with
  // a name. What only a killed process had in its memory is gone, unless spool_always.
  std::string spool_dir;
  // Bound of these files; beyond it, Push finds the queue full.
  std::uint64_t spool_bytes = std::uint64_t{16} << 30;
  // Whatever is pushed is written to the spool first, so that it survives the process from then on
  // (not a power failure: nothing waits for the disk). What does not fit into the queue stays there
  // even when the server is not away.
  bool spool_always = false;
  // Called with false and the reason when the connection is lost or cannot be made, with true when
  // it is there again, and with false and the final error when the writer gives up. Rules as for
  // on_ack; the calls of both are one at a time.
  std::function<void(bool connected, const absl::Status& why)> on_connection;
};

// kInvalidArgument unless `producer` is what WriterOptions::producer allows as a name.
absl::Status CheckProducer(const std::string& producer);

// What a writer has done so far, over all connections.
struct WriterReport {
  std::int64_t items = 0;  // Pushed, or found in the spool: frames, positions or encoder samples.
  std::int64_t sent_items = 0;     // Of these, in messages sent; each counts once.
  std::int64_t known_items = 0;    // Not sent: the session was found to have them.
  std::int64_t resent_items = 0;   // Sent again after a break.
  std::int64_t batches = 0;        // Messages sent.
  std::int64_t payload_bytes = 0;  // Sent.
  std::int64_t reconnects = 0;     // Breaks that were got over.
  bool connected = false;          // The server has answered, and the connection is not broken.
  std::int64_t unacknowledged_items =
      0;  // Wait, or were sent: the server has not said it has them.
  std::int64_t retained_items =
      0;  // Acknowledged, but kept: they are not yet on the server's disk.
  std::int64_t forgotten_items = 0;  // Acknowledged and let go of by a writer whose server had lost
                                     // its journal: nobody has them if that server ends.
  std::int64_t spooled_items = 0;    // Written to the spool by Push,
  std::int64_t spool_records = 0;    // Records there that have not come back.
  std::int64_t torn_records = 0;     // Found there half written: Push had not returned.
  std::int64_t damaged_records = 0;  // Lost there. Close ends with kDataLoss then.
  v1::IngestAck last_ack;            // With the session's counters; the final one after Close.
};

}  // namespace ptychoserve::client

#endif  // PTYCHOSERVE_CLIENT_CPP_WRITER_OPTIONS_H_
