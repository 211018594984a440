#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_BATCHING_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_BATCHING_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "client/cpp/frame_format.h"
#include "ptychoserve/v1/ingest.pb.h"

namespace ptychoserve::client::internal {

// Makes messages of frames. How a writer sends its kind of items is told by such a class:
// Request, Item, Payload, Count (of an item and of a message's items) and Fill.
class FrameBatching {
 public:
  using Request = v1::StreamFramesRequest;
  struct Item {
    std::int64_t frame_id = 0;
    std::string data;
  };

  explicit FrameBatching(const FrameFormat& format) : format_(format) {}
  // Bytes that count against the granted credit.
  static std::size_t Payload(const Item& item) { return item.data.size(); }
  static std::int64_t Count(const Item&) { return 1; }
  static std::int64_t Count(const Request& request) { return request.batch().count(); }
  // Moves items from the front of `queue`, which is not empty, into `request`: the first in any
  // case, then as many as keep the payload within `limit`. Returns the payload.
  std::size_t Fill(std::deque<Item>& queue, std::size_t limit, Request& request) const;

 private:
  FrameFormat format_;
};

// Makes messages of positions and of encoder samples.
class PositionBatching {
 public:
  using Request = v1::StreamPositionsRequest;
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
  static std::int64_t Count(const Request& request) {
    return request.batch().x_m_size() + request.encoder_samples().x_counts_size();
  }
  // As FrameBatching::Fill; encoder samples go one item a message.
  std::size_t Fill(std::deque<Item>& queue, std::size_t limit, Request& request) const;
};

}  // namespace ptychoserve::client::internal

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_BATCHING_H_
