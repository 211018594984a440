#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_BATCHING_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_BATCHING_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "client/cpp/frame_format.h"
#include "client/cpp/internal/known_ids.h"
#include "client/cpp/internal/spool.h"
#include "ptychoserve/v1/ingest.pb.h"

namespace ptychoserve::client::internal {

// Where an item stands that a writer holds; see Backlog.
struct Standing {
  std::int64_t batch = 0;  // Number, on the present call, of the message that carried it.
  bool sent = false;       // Whether any call has carried it.
  Spool::Ticket ticket = Spool::kNoTicket;  // If it is in the spool.
};

// An item as a spool keeps it.
struct Stored {
  std::uint32_t kind;
  std::int64_t id;
  std::span<const std::byte> payload;
};

// What went into a message.
struct Filled {
  std::size_t payload = 0;  // Bytes that count against the granted credit.
  std::size_t taken = 0;    // Items of the queue.
};

// Makes messages of frames, as bytes: their pixels are sent from where they are. How a writer sends
// its kind of items is told by such a class: kMethod, kNoun, Message, Item, Payload, Weight, Count,
// KnownTo, Open, Fill, Format, Store and Load.
class FrameBatching {
 public:
  static constexpr char kMethod[] = "/ptychoserve.v1.Ptychoserve/StreamFrames";
  static constexpr char kNoun[] = "frames";
  using Message = grpc::ByteBuffer;
  struct Item {
    std::int64_t frame_id = 0;
    grpc::Slice data;
    Standing standing = {};
    std::int64_t skipped = 0;  // If set, so many frames from frame_id on that nobody will send.
  };

  explicit FrameBatching(const FrameFormat& format) : format_(format) {}
  // Bytes that count against the granted credit.
  static std::size_t Payload(const Item& item) { return item.data.size(); }
  // Bytes that count against the bounds of the writer's memory.
  static std::size_t Weight(const Item& item) {
    return item.skipped > 0 ? sizeof(Item) : Payload(item);
  }
  // Frames, with or without pixels.
  static std::int64_t Count(const Item& item) { return std::max<std::int64_t>(1, item.skipped); }
  // Whether a session that has `ids` has no need of the item.
  static bool KnownTo(const KnownIds& ids, const Item& item) {
    return ids.Contains(item.frame_id, item.frame_id + Count(item) - 1);
  }
  // The first message of a stream.
  static Message Open(const v1::OpenStream& open);
  // Makes `message` of items from queue[first] on, which exists: of that one in any case, then of
  // as many as keep the payload within `limit`. Skipped frames go one item a message.
  Filled Fill(const std::deque<Item>& queue, std::size_t first, std::size_t limit,
              Message& message) const;

  // What the records of a spool hold, in words that tell formats apart.
  std::string Format() const;
  // The payload is in the item, or in `scratch`.
  static Stored Store(const Item& item, std::string& scratch);
  // Unset when it is none of this kind of items.
  static std::optional<Item> Load(Spool::Record record);

 private:
  FrameFormat format_;
};

// Makes messages of positions and of encoder samples.
class PositionBatching {
 public:
  static constexpr char kMethod[] = "/ptychoserve.v1.Ptychoserve/StreamPositions";
  static constexpr char kNoun[] = "positions";
  using Message = v1::StreamPositionsRequest;
  struct Item {
    bool encoder_samples = false;
    std::int64_t first_sample = 0;        // Of encoder samples.
    std::vector<std::int64_t> frame_ids;  // Of positions, as many as x.
    std::vector<double> x, y;             // Metres or counts, equally many.
    Standing standing = {};
  };

  static std::size_t Payload(const Item& item) {
    return (item.x.size() + item.y.size()) * sizeof(double);  // Ids do not count: ingest.proto.
  }
  static std::size_t Weight(const Item& item) { return Payload(item); }
  static std::int64_t Count(const Item& item) { return static_cast<std::int64_t>(item.x.size()); }
  // Encoder samples have no ids, so that nobody knows them.
  static bool KnownTo(const KnownIds& ids, const Item& item);
  static Message Open(const v1::OpenStream& open);
  // As FrameBatching::Fill; encoder samples go one item a message.
  Filled Fill(const std::deque<Item>& queue, std::size_t first, std::size_t limit,
              Message& message) const;
  static std::string Format() { return "positions"; }
  static Stored Store(const Item& item, std::string& scratch);
  static std::optional<Item> Load(Spool::Record record);
};

}  // namespace ptychoserve::client::internal

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_BATCHING_H_
