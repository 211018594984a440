#include "client/cpp/internal/batching.h"

#include <utility>

namespace ptychoserve::client {

std::size_t FrameFormat::raw_bytes() const {
  const std::size_t pixels = std::size_t{rows} * cols;
  switch (dtype) {
    case v1::DATA_TYPE_U8:
      return pixels;
    case v1::DATA_TYPE_U16:
      return 2 * pixels;
    case v1::DATA_TYPE_U32:
    case v1::DATA_TYPE_F32:
      return 4 * pixels;
    default:
      return 0;
  }
}

namespace internal {
namespace {

// Bounds of the protocol (ingest.proto).
constexpr std::size_t kMaxFramesPerBatch = 65536;
constexpr std::size_t kMaxPositionsPerBatch = std::size_t{1} << 20;

// Puts `ids` into a batch: one number when they follow each other, else all of them.
template <class Batch>
void SetIds(const std::vector<std::int64_t>& ids, Batch& batch) {
  batch.set_first_frame_id(ids.front());
  for (std::size_t k = 1; k < ids.size(); ++k) {
    if (ids[k] != ids.front() + static_cast<std::int64_t>(k)) {
      batch.mutable_frame_ids()->Add(ids.begin(), ids.end());
      return;
    }
  }
}

}  // namespace

std::size_t FrameBatching::Fill(std::deque<Item>& queue, std::size_t limit,
                                Request& request) const {
  std::size_t payload = 0;
  std::size_t count = 0;
  while (count < queue.size() && count < kMaxFramesPerBatch &&
         (count == 0 || payload + Payload(queue[count]) <= limit)) {
    payload += Payload(queue[count++]);
  }
  v1::FrameBatch& batch = *request.mutable_batch();
  batch.set_count(static_cast<std::uint32_t>(count));
  batch.set_dtype(format_.dtype);
  batch.set_rows(format_.rows);
  batch.set_cols(format_.cols);
  batch.set_encoding(format_.encoding);
  std::vector<std::int64_t> ids;
  for (std::size_t k = 0; k < count; ++k) {
    Item& item = queue.front();
    ids.push_back(item.frame_id);
    if (format_.encoding != v1::ENCODING_RAW) {
      batch.add_encoded_sizes(static_cast<std::uint32_t>(item.data.size()));
    }
    if (count == 1) {
      batch.set_data(std::move(item.data));
    } else {
      if (k == 0) batch.mutable_data()->reserve(payload);
      batch.mutable_data()->append(item.data);
    }
    queue.pop_front();
  }
  SetIds(ids, batch);
  return payload;
}

std::size_t PositionBatching::Fill(std::deque<Item>& queue, std::size_t limit,
                                   Request& request) const {
  std::size_t payload = Payload(queue.front());
  if (queue.front().encoder_samples) {
    const Item& item = queue.front();
    v1::EncoderSamples& samples = *request.mutable_encoder_samples();
    samples.set_first_sample(item.first_sample);
    samples.mutable_x_counts()->Add(item.x.begin(), item.x.end());
    samples.mutable_y_counts()->Add(item.y.begin(), item.y.end());
    queue.pop_front();
    return payload;
  }
  v1::PositionBatch& batch = *request.mutable_batch();
  std::vector<std::int64_t> ids;
  payload = 0;
  while (!queue.empty() && !queue.front().encoder_samples) {
    const Item& item = queue.front();
    const bool fits = payload + Payload(item) <= limit &&
                      ids.size() + item.frame_ids.size() <= kMaxPositionsPerBatch;
    if (!ids.empty() && !fits) break;
    payload += Payload(item);
    ids.insert(ids.end(), item.frame_ids.begin(), item.frame_ids.end());
    batch.mutable_x_m()->Add(item.x.begin(), item.x.end());
    batch.mutable_y_m()->Add(item.y.begin(), item.y.end());
    queue.pop_front();
  }
  SetIds(ids, batch);
  return payload;
}

}  // namespace internal
}  // namespace ptychoserve::client
