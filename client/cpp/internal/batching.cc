#include "client/cpp/internal/batching.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

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

// Kinds of records in spools.
constexpr std::uint32_t kFrameRecord = 1, kSkippedRecord = 2, kPositionsRecord = 3;

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

grpc::ByteBuffer ToMessage(const v1::StreamFramesRequest& request) {
  const grpc::Slice bytes(request.SerializeAsString());
  return grpc::ByteBuffer(&bytes, 1);
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
  return ToMessage(request);
}

Filled FrameBatching::Fill(const std::deque<Item>& queue, std::size_t first, std::size_t limit,
                           Message& message) const {
  if (queue[first].skipped > 0) {
    v1::StreamFramesRequest request;
    request.mutable_skipped()->set_first_frame_id(queue[first].frame_id);
    request.mutable_skipped()->set_count(queue[first].skipped);
    message = ToMessage(request);
    return {.payload = 0, .taken = 1};
  }
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
    if (item.skipped > 0 || (!ids.empty() && filled.payload + Payload(item) > limit)) break;
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

std::string FrameBatching::Format() const {
  return absl::StrCat("frames of ", format_.rows, " x ", format_.cols, " ",
                      v1::DataType_Name(format_.dtype), ", ", v1::Encoding_Name(format_.encoding));
}

Stored FrameBatching::Store(const Item& item, std::string& scratch) {
  if (item.skipped > 0) {
    scratch = absl::StrCat(item.skipped);
    return {kSkippedRecord, item.frame_id, std::as_bytes(std::span(scratch))};
  }
  return {kFrameRecord, item.frame_id,
          std::as_bytes(std::span(item.data.begin(), item.data.size()))};
}

std::optional<FrameBatching::Item> FrameBatching::Load(Spool::Record record) {
  Item item;
  item.frame_id = record.id;
  if (record.kind == kSkippedRecord) {
    if (!absl::SimpleAtoi(record.payload, &item.skipped) || item.skipped < 1) return std::nullopt;
    return item;
  }
  if (record.kind != kFrameRecord) return std::nullopt;
  auto* const held = new std::string(std::move(record.payload));
  item.data = grpc::Slice(
      held->data(), held->size(), [](void* owned) { delete static_cast<std::string*>(owned); },
      held);
  return item;
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

Stored PositionBatching::Store(const Item& item, std::string& scratch) {
  v1::StreamPositionsRequest message;
  PositionBatching().Fill({item}, 0, Payload(item), message);
  scratch = message.SerializeAsString();
  return {kPositionsRecord, 0, std::as_bytes(std::span(scratch))};
}

std::optional<PositionBatching::Item> PositionBatching::Load(Spool::Record record) {
  v1::StreamPositionsRequest message;
  if (record.kind != kPositionsRecord || !message.ParseFromString(record.payload)) {
    return std::nullopt;
  }
  Item item;
  item.encoder_samples = message.has_encoder_samples();
  if (item.encoder_samples) {
    const v1::EncoderSamples& samples = message.encoder_samples();
    item.first_sample = samples.first_sample();
    item.x.assign(samples.x_counts().begin(), samples.x_counts().end());
    item.y.assign(samples.y_counts().begin(), samples.y_counts().end());
    return item;
  }
  const v1::PositionBatch& batch = message.batch();
  item.x.assign(batch.x_m().begin(), batch.x_m().end());
  item.y.assign(batch.y_m().begin(), batch.y_m().end());
  item.frame_ids.assign(batch.frame_ids().begin(), batch.frame_ids().end());
  if (item.frame_ids.empty()) {
    item.frame_ids.resize(item.x.size());
    std::iota(item.frame_ids.begin(), item.frame_ids.end(), batch.first_frame_id());
  }
  return item;
}

}  // namespace internal
}  // namespace ptychoserve::client
