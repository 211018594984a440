#include "client/cpp/internal/batching.h"

#include <algorithm>
#include <string>
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

// Frames smaller than this are put together in one piece of memory, larger ones are not moved.
constexpr std::size_t kLeastPiece = 4096;

// A tag of a length-delimited field, followed by the length.
void AppendLengthOf(int field, std::size_t length, std::string* out) {
  constexpr std::uint64_t kWireTypeBits = 3, kWireBytes = 2, kMore = 0x80, kVarintBits = 7;
  for (std::uint64_t value :
       {static_cast<std::uint64_t>(field) << kWireTypeBits | kWireBytes, std::uint64_t{length}}) {
    for (; value >= kMore; value >>= kVarintBits) out->push_back(static_cast<char>(value | kMore));
    out->push_back(static_cast<char>(value));
  }
}

// A StreamFramesRequest with `batch`, up to the first of the `payload` bytes of its data.
std::string HeaderOf(const v1::FrameBatch& batch, std::size_t payload) {
  std::string fields = batch.SerializeAsString();
  AppendLengthOf(v1::FrameBatch::kDataFieldNumber, payload, &fields);
  std::string header;
  AppendLengthOf(v1::StreamFramesRequest::kBatchFieldNumber, fields.size() + payload, &header);
  return header + fields;
}

grpc::Slice Concatenate(const std::vector<grpc::Slice>& pieces, std::size_t bytes) {
  std::string all;
  all.reserve(bytes);
  for (const grpc::Slice& piece : pieces) {
    all.append(reinterpret_cast<const char*>(piece.begin()), piece.size());
  }
  return grpc::Slice(all);
}

}  // namespace

FrameBatching::Message FrameBatching::Open(const v1::OpenStream& open) {
  v1::StreamFramesRequest request;
  *request.mutable_open() = open;
  const grpc::Slice bytes(request.SerializeAsString());
  return grpc::ByteBuffer(&bytes, 1);
}

Filled FrameBatching::Fill(const std::deque<Item>& queue, std::size_t first, std::size_t limit,
                           Message& message) const {
  v1::FrameBatch batch;
  batch.set_dtype(format_.dtype);
  batch.set_rows(format_.rows);
  batch.set_cols(format_.cols);
  batch.set_encoding(format_.encoding);
  std::vector<std::int64_t> ids;
  std::vector<grpc::Slice> pieces;
  Filled filled;
  for (std::size_t k = first; k < queue.size() && ids.size() < kMaxFramesPerBatch; ++k) {
    const Item& item = queue[k];
    if (!ids.empty() && filled.payload + Payload(item) > limit) break;
    filled.payload += Payload(item);
    ids.push_back(item.frame_id);
    if (format_.encoding != v1::ENCODING_RAW) {
      batch.add_encoded_sizes(static_cast<std::uint32_t>(Payload(item)));
    }
    pieces.push_back(item.data);
  }
  filled.taken = ids.size();
  batch.set_count(static_cast<std::uint32_t>(ids.size()));
  SetIds(ids, batch);
  if (pieces.size() > 1 && filled.payload / pieces.size() < kLeastPiece) {
    pieces = {Concatenate(pieces, filled.payload)};
  }
  pieces.insert(pieces.begin(), grpc::Slice(HeaderOf(batch, filled.payload)));
  message = grpc::ByteBuffer(pieces.data(), pieces.size());
  return filled;
}

bool PositionBatching::KnownTo(const KnownIds& ids, const Item& item) {
  return !item.encoder_samples &&
         std::ranges::all_of(item.frame_ids, [&](std::int64_t id) { return ids.Contains(id, id); });
}

PositionBatching::Message PositionBatching::Open(const v1::OpenStream& open) {
  v1::StreamPositionsRequest request;
  *request.mutable_open() = open;
  return request;
}

Filled PositionBatching::Fill(const std::deque<Item>& queue, std::size_t first, std::size_t limit,
                              Message& message) const {
  message.Clear();
  if (queue[first].encoder_samples) {
    const Item& item = queue[first];
    v1::EncoderSamples& samples = *message.mutable_encoder_samples();
    samples.set_first_sample(item.first_sample);
    samples.mutable_x_counts()->Add(item.x.begin(), item.x.end());
    samples.mutable_y_counts()->Add(item.y.begin(), item.y.end());
    return {.payload = Payload(item), .taken = 1};
  }
  v1::PositionBatch& batch = *message.mutable_batch();
  std::vector<std::int64_t> ids;
  Filled filled;
  for (std::size_t k = first; k < queue.size() && !queue[k].encoder_samples; ++k) {
    const Item& item = queue[k];
    const bool fits = filled.payload + Payload(item) <= limit &&
                      ids.size() + item.frame_ids.size() <= kMaxPositionsPerBatch;
    if (filled.taken > 0 && !fits) break;
    ++filled.taken;
    filled.payload += Payload(item);
    ids.insert(ids.end(), item.frame_ids.begin(), item.frame_ids.end());
    batch.mutable_x_m()->Add(item.x.begin(), item.x.end());
    batch.mutable_y_m()->Add(item.y.begin(), item.y.end());
  }
  SetIds(ids, batch);
  return filled;
}

}  // namespace internal
}  // namespace ptychoserve::client
