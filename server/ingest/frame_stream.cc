#include "server/ingest/frame_stream.h"

#include <span>

#include "server/ingest/feed.h"

namespace ptychoserve::server {

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* FrameStream::Start(const Call& call) {
  return Launch(std::shared_ptr<FrameStream>(new FrameStream(call)));
}

bool FrameStream::Parse(grpc::ByteBuffer* bytes) {
  Release();
  if (!bytes->Dump(&slices_).ok()) return false;
  ByteChain chain;
  for (const grpc::Slice& slice : slices_) {
    chain.Append(std::as_bytes(std::span(slice.begin(), slice.size())));
  }
  return ParseFrameMessage(chain, &message_);
}

const v1::OpenStream* FrameStream::open() const {
  return message_.request.has_open() ? &message_.request.open() : nullptr;
}

absl::StatusOr<bool> FrameStream::Feed(Reconstruction& reconstruction) {
  return FeedFrames(message_, reconstruction, &next_frame_);
}

std::vector<ClosedRange> FrameStream::Ids() const { return IdsOf(message_.request); }

std::int64_t FrameStream::PayloadBytes() const {
  return static_cast<std::int64_t>(message_.payload.size());
}

void FrameStream::Release() {
  message_.payload = {};
  message_.request.Clear();
  slices_.clear();
}

const IngestCounters& FrameStream::Counters(const Progress& progress) const {
  return progress.frames;
}

}  // namespace ptychoserve::server
