#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_BATCHING_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_BATCHING_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "client/cpp/frame_format.h"
#include "ptychoserve/v1/ingest.pb.h"

namespace ptychoserve::client::internal {

// What went into a message.
struct Filled {
  std::size_t payload = 0;  // Bytes that count against the granted credit.
  std::int64_t items = 0;
};

// Makes messages of frames, as bytes: their pixels are sent from where they are. How a writer sends
// its kind of items is told by such a class: kMethod, Message, Item, Payload, Count, Open and Fill.
class FrameBatching {
 public:
  static constexpr char kMethod[] = "/ptychoserve.v1.Ptychoserve/StreamFrames";
  using Message = grpc::ByteBuffer;
  struct Item {
    std::int64_t frame_id = 0;
    grpc::Slice data;
  };

  explicit FrameBatching(const FrameFormat& format) : format_(format) {}
  // Bytes that count against the granted credit.
  static std::size_t Payload(const Item& item) { return item.data.size(); }
  static std::int64_t Count(const Item&) { return 1; }
  // The first message of a stream.
  static Message Open(const std::string& session);
  // Moves items from the front of `queue`, which is not empty, into `message`: the first in any
  // case, then as many as keep the payload within `limit`.
  Filled Fill(std::deque<Item>& queue, std::size_t limit, Message& message) const;

 private:
  FrameFormat format_;
};

// Makes messages of positions and of encoder samples.
class PositionBatching {
 public:
  static constexpr char kMethod[] = "/ptychoserve.v1.Ptychoserve/StreamPositions";
  using Message = v1::StreamPositionsRequest;
  struct Item {
    bool encoder_samples = false;
    std::int64_t first_sample = 0;        // Of encoder samples.
    std::vector<std::int64_t> frame_ids;  // Of positions, as many as x.
    std::vector<double> x, y;             // Metres or counts, equally many.
  };

  static std::size_t Payload(const Item& item) {
    return (item.x.size() + item.y.size()) * sizeof(double);  // Ids do not count: ingest.proto.
  }
  static std::int64_t Count(const Item& item) { return static_cast<std::int64_t>(item.x.size()); }
  static Message Open(const std::string& session);
  // As FrameBatching::Fill; encoder samples go one item a message.
  Filled Fill(std::deque<Item>& queue, std::size_t limit, Message& message) const;
};

}  // namespace ptychoserve::client::internal

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_BATCHING_H_
